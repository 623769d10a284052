// Lists the public API of the package, so that a change of it is seen in review: api.txt. Needs dist/. `--update` writes it.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const ts = createRequire(import.meta.url)("typescript");
const root = new URL("..", import.meta.url).pathname;
const entries = { "@im-sdk/client": `${root}dist/index.d.ts`, "@im-sdk/client/react": `${root}dist/react.d.ts` };
const missing = Object.values(entries).find((file) => !existsSync(file));
if (missing) throw new Error(`${missing} is missing: run \`npm run build\``);

const program = ts.createProgram(Object.values(entries), { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022, skipLibCheck: true, types: [] });
const checker = program.getTypeChecker();
const printer = ts.createPrinter({ removeComments: true });

/** A declaration as the .d.ts file has it, without comments and what is private. */
function print(declaration) {
  const node = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
  const isHidden = (member) =>
    (ts.isPropertyDeclaration(member) && ts.isPrivateIdentifier(member.name)) ||
    ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Private ||
    ts.getJSDocTags(member).some((tag) => tag.tagName.text === "internal");
  const visible = ts.isClassDeclaration(node)
    ? ts.factory.updateClassDeclaration(node, node.modifiers, node.name, node.typeParameters, node.heritageClauses, node.members.filter((member) => !isHidden(member)))
    : node;
  return printer.printNode(ts.EmitHint.Unspecified, visible, node.getSourceFile()).replace(/^export (declare )?/, "");
}

let text = "";
for (const [name, file] of Object.entries(entries)) {
  text += `# ${name}\n\n`;
  const symbols = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)));
  for (const symbol of symbols.sort((one, other) => (one.name < other.name ? -1 : 1))) {
    const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    if (target.flags & ts.SymbolFlags.ValueModule) {
      // Made from the protocol, whose own tests watch its fields.
      const names = checker.getExportsOfModule(target).map((exported) => exported.name).sort();
      text += `namespace ${symbol.name}: ${names.join(", ")}\n\n`;
      continue;
    }
    text += [...new Set(target.declarations.map(print))].map((declaration) => `${declaration}\n`).join("") + "\n";
  }
}
text = `${text.trimEnd()}\n`;
const committed = `${root}api.txt`;
if (process.argv.includes("--update")) writeFileSync(committed, text);
else if (!existsSync(committed) || readFileSync(committed, "utf8") !== text) {
  console.error("the public API is not what bindings/web/api.txt says: run `npm run build && npm run api -- --update`, and look at the difference");
  process.exit(1);
}
