import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds a running Aegis. */
const aegis = process.env.AEGIS_URL ?? "http://127.0.0.1:3000";

export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2022",
    // The page's policy allows no data: URLs for scripts and styles, and small files gain nothing from them.
    assetsInlineLimit: 0,
  },
  server: {
    proxy: {
      "/api": { target: aegis, changeOrigin: true },
      "/socket.io": { target: aegis, changeOrigin: true, ws: true },
    },
  },
  test: { include: ["src/**/*.test.ts"] },
});
