import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The server's own address while the interface is worked on: `npm run dev` serves the page, the server answers its requests.
const server = "http://127.0.0.1:8000";

export default defineConfig({
  base: "/ui/",
  plugins: [svelte()],
  build: {
    outDir: "../src/tertulia/web/built",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"], // all know light-dark()
    assetsInlineLimit: 0, // the content security policy allows no data: but images
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  server: { proxy: { "/v1": { target: server, ws: true }, "/docs": server } },
});
