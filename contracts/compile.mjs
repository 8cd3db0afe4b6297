// Compiles src/*.sol and writes one artefact per contract into the Python package. With --check it writes nothing and
// exits 1 if the committed artefacts are not what the sources compile to.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const solc = require("solc");

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = join(HERE, "..", "src", "countermark", "adapters", "contracts");
const CONTRACTS = ["Members", "ModelTitles", "Grants", "Anchors"];

const settings = {
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 200 },
  // No metadata hash and relative source names: the bytecode depends on the code and the compiler alone.
  metadata: { bytecodeHash: "none", appendCBOR: false },
};

const read = (path) => readFileSync(path, "utf8");
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const sources = Object.fromEntries(
  readdirSync(join(HERE, "src")).filter((name) => name.endsWith(".sol")).sort().map((name) => [name, read(join(HERE, "src", name))]),
);
const libraries = {};

function findImport(path) {
  const name = path.startsWith("src/") ? join(HERE, path) : join(HERE, "node_modules", path);
  const contents = read(name);
  libraries[path] = contents;
  return { contents };
}

function compile() {
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(Object.entries(sources).map(([name, content]) => [`src/${name}`, { content }])),
    settings: { ...settings, outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } } },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
  const messages = output.errors ?? [];
  if (messages.length > 0) {
    throw new Error(messages.map((message) => message.formattedMessage).join("\n"));
  }
  return output.contracts;
}

function artefact(name, contract) {
  const used = Object.fromEntries(Object.entries(sources).map(([file, text]) => [`src/${file}`, sha256(text)]));
  const imported = Object.fromEntries(Object.entries(libraries).sort().map(([file, text]) => [file, sha256(text)]));
  return {
    contract: name,
    compiler: solc.version(),
    settings,
    sources: { ...used, ...imported },
    abi: contract.abi,
    bytecode: `0x${contract.evm.bytecode.object}`,
    deployedBytecode: `0x${contract.evm.deployedBytecode.object}`,
  };
}

const contracts = compile();
const wanted = CONTRACTS.map((name) => [
  join(OUT, `${name}.json`),
  `${JSON.stringify(artefact(name, contracts[`src/${name}.sol`][name]), null, 1)}\n`,
]);

if (process.argv.includes("--check")) {
  const same = ([path, text]) => {
    try {
      return read(path) === text;
    } catch {
      return false;
    }
  };
  const different = wanted.filter((entry) => !same(entry)).map(([path]) => path);
  different.forEach((path) => console.error(`not what the sources compile to: ${path}`));
  process.exit(different.length > 0 ? 1 : 0);
}
mkdirSync(OUT, { recursive: true });
wanted.forEach(([path, text]) => writeFileSync(path, text));
console.log(wanted.map(([path, text]) => `${path}  ${text.length} bytes`).join("\n"));
