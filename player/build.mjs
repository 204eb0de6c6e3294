// Bundles the player into the one file that the Python package embeds in its HTML.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const target = new URL("../cooptrack_core/visualization/assets/player.js", import.meta.url);
const licence = readFileSync(new URL("node_modules/three/LICENSE", import.meta.url), "utf8").trim();
// A test of the Python package compares this with the sources, so that the built file is never an old one.
const source = new URL("src/", import.meta.url);
const digest = createHash("sha256");
for (const name of readdirSync(source).sort()) digest.update(`${name}\n`).update(readFileSync(new URL(name, source)));
const banner = `/*! cooptrack player. Apache-2.0. Built by "npm run build" in player/ from sources ${digest.digest("hex")}.
Contains three.js:\n${licence}\n*/`;

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
