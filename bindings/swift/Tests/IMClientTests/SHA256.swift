// Tokens of the tests are signed here, since Foundation has no HMAC on Linux.

/// HMAC of RFC 2104, for keys of at most a block.
func hmacSHA256(key: [UInt8], _ message: [UInt8]) -> [UInt8] {
    let padded = key + [UInt8](repeating: 0, count: 64 - key.count)
    return sha256(padded.map { $0 ^ 0x5c } + sha256(padded.map { $0 ^ 0x36 } + message))
}

/// The hash function of FIPS 180-4.
func sha256(_ message: [UInt8]) -> [UInt8] {
    var state = squareRootFractions
    let zeros = (119 - message.count % 64) % 64
    let length = withUnsafeBytes(of: UInt64(message.count * 8).bigEndian, Array.init)
    let padded = message + [0x80] + [UInt8](repeating: 0, count: zeros) + length
    for start in stride(from: 0, to: padded.count, by: 64) {
        mix(padded[start..<start + 64], into: &state)
    }
    return state.flatMap { withUnsafeBytes(of: $0.bigEndian, Array.init) }
}

private func mix(_ block: ArraySlice<UInt8>, into state: inout [UInt32]) {
    var words: [UInt32] = stride(from: block.startIndex, to: block.endIndex, by: 4).map { at in
        block[at..<at + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
    for at in 16..<64 {
        let small0 = words[at - 15].rotated(7) ^ words[at - 15].rotated(18) ^ words[at - 15] >> 3
        let small1 = words[at - 2].rotated(17) ^ words[at - 2].rotated(19) ^ words[at - 2] >> 10
        words.append(words[at - 16] &+ small0 &+ words[at - 7] &+ small1)
    }
    var v = state
    for at in 0..<64 {
        let big1 = v[4].rotated(6) ^ v[4].rotated(11) ^ v[4].rotated(25)
        let choice = v[4] & v[5] ^ ~v[4] & v[6]
        let first = v[7] &+ big1 &+ choice &+ cubeRootFractions[at] &+ words[at]
        let big0 = v[0].rotated(2) ^ v[0].rotated(13) ^ v[0].rotated(22)
        let majority = v[0] & v[1] ^ v[0] & v[2] ^ v[1] & v[2]
        v = [first &+ big0 &+ majority, v[0], v[1], v[2], v[3] &+ first, v[4], v[5], v[6]]
    }
    for at in 0..<8 { state[at] &+= v[at] }
}

extension UInt32 {
    fileprivate func rotated(_ bits: UInt32) -> UInt32 { self >> bits | self << (32 - bits) }
}

private let primes = (2...311).filter { number in (2..<number).allSatisfy { number % $0 != 0 } }

/// The first 32 bits of the fractions of square roots of the first 8 primes.
private let squareRootFractions = primes.prefix(8).map { fraction(Double($0).squareRoot()) }

/// The first 32 bits of the fractions of cube roots of the first 64 primes.
private let cubeRootFractions = primes.map { prime in
    // Newton's steps make the last bit of `pow` certain.
    var root = Double(prime).squareRoot()
    for _ in 0..<60 { root -= (root * root * root - Double(prime)) / (3 * root * root) }
    return fraction(root)
}

private func fraction(_ root: Double) -> UInt32 { UInt32((root - root.rounded(.down)) * 4_294_967_296) }
