import { Chromium } from "./browser/chromium.js";
import { runScenarios } from "./browser/scenarios.js";

runScenarios("Chromium", () => Chromium.launch());
