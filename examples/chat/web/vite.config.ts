import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const backend = "http://127.0.0.1:8080";
const proxy = { "/api": backend, "/files": backend };

export default defineConfig({
  plugins: [react()],
  // The client's folder is linked, and has a React of its own for its tests.
  resolve: { dedupe: ["react", "react-dom"] },
  server: { host: "127.0.0.1", proxy },
  preview: { host: "127.0.0.1", proxy },
  build: {
    target: "es2022",
    // These have `light-dark()` and nested rules of their own.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // An inlined file would need `data:` in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
