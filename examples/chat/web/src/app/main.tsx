import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { startSession } from "../api";
import "../design/tokens.css";
import "../design/base.css";
import { startLanguage } from "../text";
import { App } from "./App";
import { startPreferences } from "./preferences";

startLanguage();
startPreferences();
void startSession();
const root = document.getElementById("root");
if (!root) throw new Error("index.html lacks the element #root");
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
