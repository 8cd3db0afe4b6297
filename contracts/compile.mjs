// Compiles the contracts and writes one artefact per contract into the Python package. With --check it writes nothing and
// exits 1 if the committed artefacts are not what the sources compile to.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const solc = require("solc");

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = join(HERE, "..", "src", "countermark", "adapters", "contracts");
// As CONTRACTS of the Python package countermark.adapters.contracts: a new contract is named there and here.
const CONTRACTS = [
  "Members",
  "Directory",
  "Anchors",
  "ModelTitles",
  "Grants",
  "SettlementToken",
  "Revenue",
  "Market",
  "FileSales",
  "Disputes",
];

const settings = {
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 200 },
  // No metadata hash and relative source names: the bytecode depends on the code and the compiler alone.
  metadata: { bytecodeHash: "none", appendCBOR: false },
};

const read = (path) => readFileSync(path, "utf8");
const sha256 = (text) => createHash("sha256").update(text).digest("hex");

// Each contract is compiled by itself, so that its artefact depends on the sources that it imports and on no others.
function compile(name) {
  const main = `src/${name}.sol`;
  const sources = { [main]: read(join(HERE, main)) };
  const input = {
    language: "Solidity",
    sources: { [main]: { content: sources[main] } },
    settings: { ...settings, outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } } },
  };
  const findImport = (path) => {
    sources[path] = read(path.startsWith("src/") ? join(HERE, path) : join(HERE, "node_modules", path));
    return { contents: sources[path] };
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
  // 2394 warns of transient storage, which OpenZeppelin's reentrancy guard uses and clears within each call.
  const messages = (output.errors ?? []).filter((message) => message.errorCode !== "2394");
  if (messages.length > 0) {
    throw new Error(messages.map((message) => message.formattedMessage).join("\n"));
  }
  return artefact(name, sources, output.contracts[main][name]);
}

function artefact(name, sources, contract) {
  return {
    contract: name,
    compiler: solc.version(),
    settings,
    sources: Object.fromEntries(Object.entries(sources).sort().map(([file, text]) => [file, sha256(text)])),
    abi: contract.abi,
    bytecode: `0x${contract.evm.bytecode.object}`,
    deployedBytecode: `0x${contract.evm.deployedBytecode.object}`,
  };
}

const wanted = CONTRACTS.map((name) => [join(OUT, `${name}.json`), `${JSON.stringify(compile(name), null, 1)}\n`]);

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
