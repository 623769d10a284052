import assert from "node:assert/strict";
import { test } from "node:test";
import { IDBFactory } from "fake-indexeddb";
import { ImError } from "../src/errors.js";
import { IndexedDbStore } from "../src/store/indexeddb.js";
import { MemoryStore } from "../src/store/memory.js";
import { MAX_OUTBOX, type Batch, type Store } from "../src/store/store.js";

const NOTHING: Batch = { user: "me", nextNumber: 1, cursors: [], left: [], put: [], remove: [], marks: [] };
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

interface Kind { readonly name: string; open(): Promise<Store>; reopen(store: Store): Promise<Store> }

function indexedDb(): Kind {
  const factory = new IDBFactory();
  const open = (): Promise<Store> => IndexedDbStore.open("me", { factory });
  return { name: "IndexedDB", open, reopen: async (store) => (await store.close(), open()) };
}
const memory: Kind = { name: "memory", open: () => Promise.resolve(new MemoryStore()), reopen: (store) => Promise.resolve(store) };

for (const make of [() => memory, indexedDb]) {
  const { name } = make();

  test(`${name}: a new store draws a device and an installation, which stay`, async () => {
    const kind = make();
    const store = await kind.open();
    const first = await store.load();
    assert.deepEqual({ ...first, device: "", installation: 0n }, { user: "", device: "", installation: 0n, renewed: undefined, nextNumber: 1, cursors: [], outbox: [], marks: [] });
    assert.ok(first.device.length > 8 && first.installation > 0n);
    const again = await (await kind.reopen(store)).load();
    assert.deepEqual(again, first);
    const other = await (await make().open()).load();
    assert.notEqual(other.installation, first.installation);
    assert.notEqual(other.device, first.device);
  });

  test(`${name}: what was saved is there after a restart`, async () => {
    const kind = make();
    let store = await kind.open();
    assert.equal(await store.append("@bob", bytes("one")), 1);
    assert.equal(await store.append("#team", bytes("two")), 2);
    await store.save({
      ...NOTHING, nextNumber: 7,
      cursors: [{ channel: "", seq: 5, id: 2n ** 62n }, { channel: "team", seq: 1, id: 9n }],
      put: [{ localId: 1, number: 6, to: "@bob", content: bytes("one") }],
      marks: [{ to: "@bob", marks: [{ setAtMs: 3, mark: bytes("m") }] }],
    });
    store = await kind.reopen(store);
    const saved = await store.load();
    assert.deepEqual([saved.user, saved.nextNumber], ["me", 7]);
    assert.deepEqual(saved.cursors, [{ channel: "", seq: 5, id: 2n ** 62n }, { channel: "team", seq: 1, id: 9n }]);
    assert.deepEqual(saved.outbox, [{ localId: 1, number: 6, to: "@bob", content: bytes("one") }, { localId: 2, number: 0, installation: undefined, to: "#team", content: bytes("two") }]);
    assert.deepEqual(saved.marks, [{ to: "@bob", marks: [{ setAtMs: 3, mark: bytes("m") }] }]);
    await store.save({ ...NOTHING, left: ["team"], remove: [1, 99], cursors: [{ channel: "", seq: 6, id: 1n }], marks: [{ to: "@bob", marks: [] }] });
    const later = await (await kind.reopen(store)).load();
    assert.deepEqual(later.cursors, [{ channel: "", seq: 6, id: 1n }]);
    assert.deepEqual(later.outbox.map(({ localId }) => localId), [2]);
    assert.deepEqual(later.marks, []);
  });

  test(`${name}: local ids rise, also when what they named is gone, and a failure is kept`, async () => {
    const kind = make();
    let store = await kind.open();
    for (let index = 1; index <= 3; index++) assert.equal(await store.append("@bob", bytes(`${index}`)), index);
    const failure = { code: "refused", message: "no", refusal: { kind: 1, reason: "no", code: 5, retryAfterMs: 0 } } as const;
    await store.save({ ...NOTHING, remove: [1, 3], put: [{ localId: 2, number: 0, to: "@bob", content: bytes("2"), failure }] });
    store = await kind.reopen(store);
    assert.equal(await store.append("@bob", bytes("4")), 4);
    assert.deepEqual((await store.appended(2)).map(({ localId }) => localId), [4]);
    assert.deepEqual((await store.appended(0)).map(({ localId }) => localId), [2, 4]);
    assert.deepEqual((await store.load()).outbox[0]?.failure, failure);
  });

  test(`${name}: what failed gives place to its retry, once`, async () => {
    const kind = make();
    let store = await kind.open();
    await store.append("@bob", bytes("1"));
    await store.append("@bob", bytes("2"));
    const failure = { code: "refused", message: "no" } as const;
    await store.save({ ...NOTHING, put: [{ localId: 1, number: 0, installation: 7n, to: "@bob", content: bytes("1"), failure }] });
    const retry = { localId: 3, number: 0, installation: 7n, retries: 1, to: "@bob", content: bytes("1") };
    assert.deepEqual(await store.retry(1), retry);
    assert.equal(await store.retry(1), undefined, "it is gone");
    assert.equal(await store.retry(2), undefined, "it has not failed");
    store = await kind.reopen(store);
    assert.deepEqual((await store.load()).outbox.map(({ localId, retries }) => [localId, retries]), [[2, undefined], [3, 1]]);
  });

  test(`${name}: a store that is loaded again skips some ids, and keeps installations`, async () => {
    const kind = make();
    let store = await kind.open();
    await store.load();
    assert.equal(await store.append("@bob", bytes("1")), 1, "a new one skips none");
    await store.save({ ...NOTHING, renewed: 5n });
    await store.append("@bob", bytes("2"));
    await store.append("@bob", bytes("3"), 9n);
    store = await kind.reopen(store);
    const saved = await store.load();
    assert.deepEqual([saved.renewed, ...saved.outbox.map(({ installation }) => installation)], [5n, undefined, 5n, 9n]);
    assert.ok((await store.append("@bob", bytes("4"))) > 4);
  });

  test(`${name}: sends that are made together get ids of their own, in order`, async () => {
    const store = await make().open();
    const ids = await Promise.all(Array.from({ length: 50 }, (_, index) => store.append("@bob", bytes(`${index}`))));
    assert.deepEqual(ids, Array.from({ length: 50 }, (_, index) => index + 1));
  });

  test(`${name}: the outbox is bounded`, async () => {
    const store = await make().open();
    for (let index = 0; index < MAX_OUTBOX; index++) await store.append("@bob", bytes("x"));
    await assert.rejects(store.append("@bob", bytes("x")), (error: unknown) => error instanceof ImError && error.code === "queue_full");
    await store.save({ ...NOTHING, remove: [1] });
    assert.equal(await store.append("@bob", bytes("x")), MAX_OUTBOX + 1);
  });
}

test("IndexedDB: a connection that the browser cuts is opened again", async () => {
  const factory = new IDBFactory();
  const opened: IDBDatabase[] = [];
  const spying = new Proxy(factory, {
    get(target, key) {
      if (key !== "open") return Reflect.get(target, key, target) as unknown;
      return (name: string, version: number) => {
        const request = target.open(name, version);
        request.addEventListener("success", () => opened.push(request.result));
        return request;
      };
    },
  });
  const store = await IndexedDbStore.open("me", { factory: spying });
  await store.append("@bob", bytes("one"));
  opened.at(-1)?.close();
  assert.equal(await store.append("@bob", bytes("two")), 2);
  assert.equal(opened.length, 2);
  const broken = opened.at(-1) as IDBDatabase;
  broken.transaction = () => {
    throw new DOMException("Connection to Indexed Database server lost", "UnknownError");
  };
  assert.equal(await store.append("@bob", bytes("three")), 3);
  assert.equal(opened.length, 3);
  const cutBehindCommits = (): void => {
    const cut = opened.at(-1) as IDBDatabase;
    const transact = cut.transaction.bind(cut);
    cut.transaction = (...given) => {
      const transaction = transact(...given);
      // It is on the disk, and nobody hears of it.
      Object.defineProperty(transaction, "oncomplete", {
        set: () => transaction.addEventListener("complete", () => transaction.onabort?.(new Event("abort"))),
      });
      return transaction;
    };
  };
  cutBehindCommits();
  assert.equal(await store.append("@bob", bytes("four")), 4);
  assert.deepEqual((await store.appended(0)).map(({ localId }) => localId), [1, 2, 3, 4]);
  const failure = { code: "refused", message: "no" } as const;
  await store.save({ ...NOTHING, put: [{ localId: 1, number: 0, to: "@bob", content: bytes("one"), failure }] });
  cutBehindCommits();
  assert.equal((await store.retry(1))?.localId, 5);
  assert.deepEqual((await store.appended(0)).map(({ localId }) => localId), [2, 3, 4, 5]);
});

test("IndexedDB: a database that stays away is told as such", async () => {
  const factory = new IDBFactory();
  const store = await IndexedDbStore.open("me", { factory });
  factory.open = () => {
    throw new DOMException("gone", "UnknownError");
  };
  assert.equal(await store.append("@bob", bytes("one")), 1, "what is open goes on");
  await store.close();
  await assert.rejects(store.append("@bob", bytes("two")), (error: unknown) => error instanceof ImError && error.code === "closed");
  await assert.rejects(IndexedDbStore.open("me", { factory }), (error: unknown) => error instanceof ImError && error.code === "store");
});

test("IndexedDB: who claimed the database later fences off who claimed it earlier", async () => {
  const factory = new IDBFactory();
  const [one, other] = await Promise.all([IndexedDbStore.open("me", { factory }), IndexedDbStore.open("me", { factory })]);
  assert.equal(await one.claim(), 1);
  await one.save({ ...NOTHING, nextNumber: 3 });
  assert.equal(await other.claim(), 2);
  await assert.rejects(one.save({ ...NOTHING, nextNumber: 9 }), (error: unknown) => error instanceof ImError && error.code === "closed");
  await other.save({ ...NOTHING, nextNumber: 4 });
  assert.equal((await one.load()).nextNumber, 4);
  assert.equal(await one.append("@bob", bytes("a follower may send")), 1);
});
