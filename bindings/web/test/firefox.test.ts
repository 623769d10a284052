import { Firefox } from "./browser/firefox.js";
import { runScenarios } from "./browser/scenarios.js";

runScenarios("Firefox", () => Firefox.launch());
