// Bundles the player into the one file that the Python package embeds in its HTML.
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const target = new URL("../cooptrack_core/visualization/assets/player.js", import.meta.url);
const licence = readFileSync(new URL("node_modules/three/LICENSE", import.meta.url), "utf8").trim();
const banner = `/*! cooptrack player. Apache-2.0. Source: player/ (npm run build). Contains three.js:\n${licence}\n*/`;

const result = await build({
  entryPoints: [new URL("src/main.js", import.meta.url).pathname],
  bundle: true,
  minify: true,
  write: false,
  format: "iife",
  target: ["es2020"],
  loader: { ".css": "text" },
  legalComments: "inline",
  charset: "ascii",
  banner: { js: banner },
});
writeFileSync(target, result.outputFiles[0].text);
console.log(`player.js: ${(result.outputFiles[0].text.length / 1000).toFixed(0)} kB`);
