// Compiles src/*.sol together and writes what a static analyser reads: a folder in the shape of a Hardhat project, with
// the compiler's input and output in artifacts/build-info.   node build_info.mjs DIR
import { mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const solc = require("solc");

const HERE = dirname(fileURLToPath(import.meta.url));
const DIR = process.argv[2];
const read = (path) => readFileSync(join(HERE, path), "utf8");

const names = readdirSync(join(HERE, "src")).filter((name) => name.endsWith(".sol")).sort();
const input = {
  language: "Solidity",
  sources: Object.fromEntries(names.map((name) => [`src/${name}`, { content: read(`src/${name}`) }])),
  settings: {
    evmVersion: "cancun",
    optimizer: { enabled: true, runs: 200 },
    outputSelection: { "*": { "*": ["abi", "devdoc", "userdoc", "evm.bytecode", "evm.deployedBytecode"], "": ["ast"] } },
  },
};
const findImport = (path) => ({ contents: read(path.startsWith("src/") ? path : join("node_modules", path)) });
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
const errors = (output.errors ?? []).filter((message) => message.severity === "error");
if (errors.length > 0) throw new Error(errors.map((message) => message.formattedMessage).join("\n"));

const info = join(DIR, "artifacts", "build-info");
[info, join(DIR, "src")].forEach((folder) => mkdirSync(folder, { recursive: true }));
names.forEach((name) => writeFileSync(join(DIR, "src", name), input.sources[`src/${name}`].content));
symlinkSync(join(HERE, "node_modules"), join(DIR, "node_modules"));
writeFileSync(join(DIR, "hardhat.config.js"), "");
writeFileSync(join(info, "build.json"), JSON.stringify({ solcVersion: solc.version().split("+")[0], input, output }));
