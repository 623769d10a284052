import assert from "node:assert/strict";
import { test } from "node:test";
import { World, type Phone } from "./world";

const ended = (phone: Phone): string => {
  assert.ok(phone.state.phase === "ended", `${phone.user} is ${phone.state.phase}`);
  return phone.state.reason;
};
const outcomes = (...phones: Phone[]): string[] => phones.flatMap(({ reports }) => reports.map(({ outcome }) => outcome));
const isReconnecting = ({ state }: Phone): boolean => state.phase === "active" && state.isReconnecting;

function two(): { world: World; alice: Phone; bob: Phone } {
  const world = new World();
  return { world, alice: world.phone("alice"), bob: world.phone("bob") };
}

/** Alice calls Bob, who answers. */
function talking(): ReturnType<typeof two> & { id: string } {
  const given = two();
  const id = given.alice.call("bob", "video");
  given.world.run(100);
  given.bob.do({ type: "accept" });
  given.world.run(200);
  assert.deepEqual([given.alice.state.phase, given.bob.state.phase], ["active", "active"]);
  return { ...given, id };
}

test("a call rings, is answered and hung up, and the caller reports it", () => {
  const { world, alice, bob } = talking();
  assert.deepEqual(alice.phases, ["idle", "preparing", "calling", "connecting", "active"]);
  assert.deepEqual(bob.phases, ["idle", "ringing", "preparing", "connecting", "active"]);
  assert.ok(bob.state.phase === "active" && bob.state.call.kind === "video");
  world.run(61_000);
  bob.do({ type: "end" });
  world.run(100);
  assert.deepEqual([ended(alice), ended(bob)], ["hung_up", "hung_up"]);
  assert.deepEqual(alice.reports, [{ type: "report", user: "bob", kind: "video", seconds: 61, outcome: "answered" }]);
  assert.deepEqual(bob.reports, []);
  assert.ok(!alice.hasMedia && !bob.hasMedia);
  world.run(10_000);
  assert.deepEqual([alice.state.phase, bob.state.phase], ["idle", "idle"]);
  assert.deepEqual([alice.timers.size, bob.timers.size], [0, 0]);
});

test("it rings at all devices, and stops where another one has answered", () => {
  for (const copiesToOwn of [false, true]) {
    const { world, alice, bob } = two();
    world.copiesToOwn = copiesToOwn;
    const tablet = world.phone("bob", "bob-2");
    const laptop = world.phone("alice", "alice-2");
    alice.call("bob");
    world.run(100);
    assert.deepEqual([bob.state.phase, tablet.state.phase, laptop.state.phase], ["ringing", "ringing", "idle"]);
    tablet.do({ type: "accept" });
    world.run(100);
    assert.equal(ended(bob), "elsewhere");
    assert.ok(alice.state.phase === "active" && alice.state.call.device?.id === "bob-2");
    world.run(20_000);
    assert.equal(bob.state.phase, "idle", "it does not ring again");
    assert.deepEqual(laptop.phases, ["idle"]);
  }
});

test("of two devices that answer at once, one has the call", () => {
  const { world, alice, bob } = two();
  const tablet = world.phone("bob", "bob-2");
  alice.call("bob");
  world.run(100);
  for (const phone of [bob, tablet]) phone.do({ type: "accept" });
  world.run(100);
  assert.equal(alice.state.phase, "active");
  assert.equal(bob.state.phase, "active");
  assert.equal(ended(tablet), "elsewhere");
});

test("a declined call ends everywhere", () => {
  const { world, alice, bob } = two();
  const tablet = world.phone("bob", "bob-2");
  alice.call("bob");
  world.run(100);
  bob.do({ type: "end" });
  world.run(100);
  assert.deepEqual([ended(alice), ended(bob), ended(tablet)], ["declined", "declined", "elsewhere"]);
  assert.deepEqual(outcomes(alice, bob, tablet), ["declined"]);
});

test("who declines is heard even if that is lost", () => {
  const { world, alice, bob } = two();
  let lost = 1;
  world.delay = ({ signal }) => (signal.step === "busy" && lost-- > 0 ? undefined : 5);
  alice.call("bob");
  world.run(100);
  bob.do({ type: "end" });
  world.run(1000);
  assert.equal(alice.state.phase, "calling");
  world.run(5000);
  assert.equal(ended(alice), "declined");
  assert.notEqual(bob.state.phase, "ringing");
});

test("who is in a call is busy to others", () => {
  const { world, alice, bob } = talking();
  const carol = world.phone("carol");
  carol.call("bob");
  world.run(100);
  assert.equal(ended(carol), "busy");
  assert.deepEqual(outcomes(carol), ["busy"]);
  assert.deepEqual([alice.state.phase, bob.state.phase], ["active", "active"]);
});

test("a cancelled call stops ringing, also where the cancel comes first", () => {
  const { world, alice, bob } = two();
  alice.call("bob");
  world.run(100);
  alice.do({ type: "end" });
  world.run(100);
  assert.deepEqual([ended(alice), ended(bob)], ["cancelled", "cancelled"]);
  assert.deepEqual(outcomes(alice), ["cancelled"]);

  world.run(10_000);
  world.delay = ({ signal }) => (signal.step === "ring" ? 500 : 5);
  alice.call("bob");
  world.run(100);
  alice.do({ type: "end" });
  world.run(5000);
  assert.equal(bob.phases.filter((phase) => phase === "ringing").length, 1);
});

test("a call that is cancelled while the other user answers ends", () => {
  const { world, alice, bob } = two();
  world.delay = () => 200;
  alice.call("bob");
  world.run(300);
  bob.do({ type: "accept" });
  alice.do({ type: "end" });
  world.run(1000);
  assert.deepEqual([alice.state.phase, bob.state.phase], ["ended", "ended"]);
});

test("nobody answers for 45 s", () => {
  const { world, alice, bob } = two();
  alice.call("bob");
  world.run(44_900);
  assert.deepEqual([alice.state.phase, bob.state.phase], ["calling", "ringing"]);
  world.run(200);
  assert.deepEqual([ended(alice), ended(bob)], ["no_answer", "cancelled"]);
  assert.deepEqual(outcomes(alice), ["no_answer"]);
});

test("a device that comes online meanwhile rings too", () => {
  const { world, alice } = two();
  alice.call("bob");
  world.run(10_000);
  const late = world.phone("bob", "bob-late");
  world.run(6000);
  assert.equal(late.state.phase, "ringing");
});

test("two users who call each other at once talk, whoever was first", () => {
  for (const [one, other] of [["a", "b"], ["b", "a"]] as const) {
    for (const wait of [0, 3, 15, 22, 30]) {
      const { world, alice, bob } = two();
      const tablet = world.phone("bob", "bob-2");
      alice.call("bob", "video", one);
      world.run(wait);
      bob.call("alice", "audio", other);
      world.run(1000);
      assert.deepEqual([alice.state.phase, bob.state.phase], ["active", "active"], `${one} after ${wait}`);
      assert.ok("call" in alice.state && "call" in bob.state && alice.state.call.id === bob.state.call.id);
      assert.notEqual(tablet.state.phase, "ringing");
      alice.do({ type: "end" });
      world.run(20_000);
      assert.deepEqual(outcomes(alice, bob), ["answered"]);
      assert.deepEqual(world.phones.map(({ state }) => state.phase), ["idle", "idle", "idle"]);
    }
  }
});

test("a call to oneself does nothing", () => {
  const { world, alice } = two();
  alice.call("alice");
  world.run(100);
  assert.deepEqual(alice.phases, ["idle"]);
});

test("without a microphone nothing rings, and the caller is told why until it is dismissed", () => {
  const { world, alice, bob } = two();
  alice.microphone = "denied";
  alice.call("bob");
  world.run(60_000);
  assert.ok(alice.state.phase === "ended" && alice.state.problem === "denied");
  assert.deepEqual([bob.phases, outcomes(alice)], [["idle"], []]);
  alice.do({ type: "dismiss" });
  assert.equal(alice.state.phase, "idle");
});

test("who is called may allow the microphone and answer again", () => {
  const { world, alice, bob } = two();
  bob.microphone = "denied";
  alice.call("bob");
  world.run(100);
  bob.do({ type: "accept" });
  world.run(100);
  assert.ok(bob.state.phase === "ringing" && bob.state.problem === "denied");
  bob.microphone = "allowed";
  bob.do({ type: "accept" });
  world.run(100);
  assert.equal(alice.state.phase, "active");
});

test("a call that is answered elsewhere while the microphone is asked for ends here", () => {
  const { world, alice, bob } = two();
  const tablet = world.phone("bob", "bob-2");
  bob.microphone = "asking";
  alice.call("bob");
  world.run(100);
  bob.do({ type: "accept" });
  tablet.do({ type: "accept" });
  world.run(100);
  assert.deepEqual([ended(bob), tablet.state.phase], ["elsewhere", "active"]);
});

test("without a connection a call ends at once and is not reported", () => {
  const { world, alice } = two();
  const id = alice.call("bob");
  world.run(21);
  alice.do({ type: "offline", id });
  assert.equal(ended(alice), "offline");
  assert.deepEqual(outcomes(alice), []);
});

test("a caller that goes away stops ringing", () => {
  const { world, alice, bob } = two();
  alice.call("bob");
  world.run(100);
  alice.isOn = false;
  world.run(20_000);
  assert.deepEqual(bob.phases.slice(-2), ["ended", "idle"]);
});

test("an interruption heals with a restart of ICE", () => {
  for (const state of ["interrupted", "failed"] as const) {
    const { world, alice, bob, id } = talking();
    world.isReachable = false;
    world.link(id, state);
    world.run(500);
    assert.ok(isReconnecting(alice) && isReconnecting(bob));
    world.run(12_000);
    world.isReachable = true;
    world.run(9000);
    assert.ok(alice.state.phase === "active" && !alice.state.isReconnecting);
    assert.ok(bob.state.phase === "active" && !bob.state.isReconnecting);
    world.run(60_000);
    assert.equal(alice.state.phase, "active");
  }
});

test("a short interruption makes no offer", () => {
  const { world, id } = talking();
  const sent = world.sent.length;
  world.link(id, "interrupted");
  world.run(1000);
  world.link(id);
  world.run(60_000);
  assert.equal(world.sent.length, sent);
});

test("a restart that only the called device notices is made by the caller", () => {
  const { world, alice, bob, id } = talking();
  bob.do({ type: "link", id, state: "failed" });
  world.run(500);
  assert.ok(bob.state.phase === "active" && !bob.state.isReconnecting);
  assert.equal(alice.state.phase, "active");
});

test("a device that goes away during a call ends it after 30 s", () => {
  const { world, alice, bob, id } = talking();
  world.run(10_000);
  bob.isOn = false;
  world.link(id, "interrupted");
  world.run(29_000);
  assert.equal(alice.state.phase, "active");
  world.run(1100);
  assert.equal(ended(alice), "lost");
  assert.deepEqual(outcomes(alice), ["answered"]);
});

test("a device that is loaded again and calls anew replaces the call that it has forgotten", () => {
  const { world, alice, bob } = talking();
  bob.isOn = false;
  const again = world.phone("bob", "bob-1");
  again.call("alice");
  world.run(100);
  assert.ok(alice.state.phase === "ringing" && alice.state.call.user === "bob");
  alice.do({ type: "accept" });
  world.run(100);
  assert.equal(again.state.phase, "active");
});

test("a goodbye over the media connection ends the call", () => {
  const { world, alice, bob, id } = talking();
  alice.do({ type: "peer_left", id });
  world.run(100);
  assert.equal(ended(alice), "hung_up");
  bob.do({ type: "link", id, state: "failed" });
  world.run(100);
  assert.equal(ended(bob), "hung_up", "a late signal is answered with a hang-up");
});

test("a call without a way for media ends as unreachable", () => {
  const { world, alice, bob } = two();
  world.isReachable = false;
  alice.call("bob");
  world.run(100);
  bob.do({ type: "accept" });
  world.run(30_500);
  assert.equal(ended(bob), "unreachable");
  assert.equal(ended(alice), "hung_up");
  assert.deepEqual(outcomes(alice), ["failed"]);
  world.run(5000);
  assert.equal(bob.state.phase, "idle");
});

test("strangers cannot steer a call", () => {
  const { world, alice, bob, id } = talking();
  const mallory = world.phone("mallory");
  const device = mallory.device;
  for (const signal of [{ step: "hangup", isElsewhere: false }, { step: "cancel" }, { step: "elsewhere" }, { step: "offer", round: 99, sdp: "x" }, { step: "candidates", candidates: [{ candidate: "x" }] }] as const) {
    bob.do({ type: "signal", id, from: "mallory", device, signal });
    bob.do({ type: "signal", id, from: "alice", device, signal });
  }
  world.run(1000);
  assert.deepEqual([alice.state.phase, bob.state.phase, bob.candidates], ["active", "active", []]);
});

test("in random worlds that lose, delay and reorder signals every call comes to an end", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = numbers(seed);
    const world = new World();
    const phones = [world.phone("alice"), world.phone("alice", "alice-2"), world.phone("bob"), world.phone("bob", "bob-2"), world.phone("carol")];
    const loss = random() * 0.4;
    world.copiesToOwn = random() < 0.5;
    world.delay = () => (random() < loss ? undefined : 1 + random() * 400);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
    for (let step = 0; step < 60; step++) {
      const phone = pick(phones);
      const { state } = phone;
      const chance = random();
      if (state.phase === "idle") phone.call(pick(["alice", "bob", "carol"]), "audio", `${Math.floor(random() * 1e9)}`);
      else if (chance < 0.5) phone.do({ type: "accept" });
      else if (chance < 0.6) phone.do({ type: "end" });
      else if (chance < 0.7 && "call" in state) world.link(state.call.id, pick(["interrupted", "failed", "connected"]));
      else if (chance < 0.75) phone.microphone = pick(["allowed", "allowed", "denied"]);
      world.run(random() * 3000);
    }
    world.delay = () => 5;
    for (const phone of phones) if (random() < 0.5) phone.do({ type: "end" });
    world.run(120_000);
    // Media stop where the other end is gone.
    for (const { state } of phones) if (state.phase === "active") world.link(state.call.id, "failed");
    world.run(60_000);
    for (const phone of phones) {
      const { state } = phone;
      const problem = `seed ${seed}: ${phone.device.id} is ${state.phase}`;
      assert.ok(state.phase === "idle" || state.phase === "active" || (state.phase === "ended" && state.problem), problem);
      if (state.phase === "active") {
        assert.ok(!state.isReconnecting, problem);
        assert.equal(phones.filter((other) => other.state.phase === "active" && other.state.call.id === state.call.id).length, 2, problem);
      } else assert.deepEqual([phone.hasMedia, phone.timers.size], [false, 0], problem);
    }
  }
});

/** Mulberry32. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
