/**
 * The origin of a message: the local id of its send, encrypted with the installation of the store, so that only this store's tabs
 * can recognise it. To everybody else it is a random number.
 *
 * It is a permutation of all 64-bit numbers, made of Feistel rounds, so two sends never have the same origin, and the same send
 * always has the same one.
 */
const ROUNDS = 6;

function mix(key: bigint, round: number, half: number): number {
  let mixed = half ^ Number(key & 0xffffffffn);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b) ^ Number(key >> 32n);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35) + Math.imul(round + 1, 0x9e3779b9);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x7feb352d);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

const join = (left: number, right: number): bigint => (BigInt(left) << 32n) | BigInt(right);

/** Encrypts a local id. */
export function seal(installation: bigint, localId: number): bigint {
  let [left, right] = [Math.floor(localId / 2 ** 32), localId >>> 0];
  for (let round = 0; round < ROUNDS; round++) [left, right] = [right, (left ^ mix(installation, round, right)) >>> 0];
  return join(left, right);
}

/** Decrypts an origin. Returns `undefined` if it is not of this store. */
export function open(installation: bigint, origin: bigint): number | undefined {
  if (origin === 0n) return undefined;
  let [left, right] = [Number(origin >> 32n), Number(origin & 0xffffffffn)];
  for (let round = ROUNDS - 1; round >= 0; round--) [left, right] = [(right ^ mix(installation, round, left)) >>> 0, left];
  // No store makes four billion sends.
  return left === 0 && right > 0 ? right : undefined;
}
