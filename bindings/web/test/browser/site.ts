import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { build } from "esbuild";

/** A web site with the page of the tests, and tokens for whoever asks. */
export class Site {
  private constructor(
    readonly server: Server,
    readonly url: string,
  ) {}

  static async start(token: (user: string) => string): Promise<Site> {
    const bundle = async (entry: string): Promise<string> => {
      const { outputFiles } = await build({ entryPoints: [entry], bundle: true, write: false, format: "iife", target: "es2022", sourcemap: "inline" });
      return outputFiles[0]?.text ?? "";
    };
    const script = await bundle("test/browser/page.ts");
    const server = createServer((request, response) => {
      const [, first, rest] = (request.url ?? "/").split("/");
      const answer = (type: string, body: string): void => void response.writeHead(200, { "content-type": type, "cache-control": "no-store" }).end(body);
      if (first === "page.js") answer("text/javascript", script);
      else if (first === "token") answer("text/plain", token(rest ?? ""));
      else if (first === "favicon.ico") response.writeHead(404).end();
      else answer("text/html", '<!doctype html><meta charset="utf-8"><title>tab</title><script src="/page.js"></script>');
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Site(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
