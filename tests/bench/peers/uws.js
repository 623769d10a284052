// A push server on uWebSockets (inside Bun). Prints two ports: one for devices, one for records (see
// src/target/records.rs).
const ROOM = 0x80000000;
const devices = [];

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const [index, room] = new URL(request.url).pathname.slice(1).split("/");
    return server.upgrade(request, { data: { index: Number(index), room } }) ? undefined : new Response("no", { status: 400 });
  },
  websocket: {
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    backpressureLimit: 64 * 1024 * 1024,
    open(socket) {
      devices[socket.data.index] = socket;
      if (socket.data.room) socket.subscribe(socket.data.room);
      socket.send("ok");
    },
    message() {},
  },
});

function deliver(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at + 8 <= bytes.byteLength) {
    const to = view.getUint32(at, true);
    const end = at + 8 + view.getUint32(at + 4, true);
    if (end > bytes.byteLength) break;
    const payload = bytes.subarray(at + 8, end);
    if (to >= ROOM) server.publish(String(to - ROOM), payload);
    else devices[to]?.send(payload);
    at = end;
  }
  return at;
}

const records = Bun.listen({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open(socket) {
      socket.data = { part: Buffer.alloc(0), greeted: false };
    },
    data(socket, chunk) {
      let bytes = socket.data.part.length ? Buffer.concat([socket.data.part, chunk]) : chunk;
      if (!socket.data.greeted) {
        if (bytes.length < 4) return void (socket.data.part = Buffer.from(bytes));
        socket.data.greeted = true;
        bytes = bytes.subarray(4);
      }
      socket.data.part = Buffer.from(bytes.subarray(deliver(bytes)));
    },
  },
});

console.log(`${server.port} ${records.port}`);
