import Foundation

extension Duration {
    init(wholeMilliseconds: UInt64) {
        self = .milliseconds(Int64(clamping: wholeMilliseconds))
    }

    /// The bridge counts in milliseconds. A negative duration is none.
    var wholeMilliseconds: UInt64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = UInt64(clamping: seconds).multipliedReportingOverflow(by: 1000)
        guard !overflow else { return .max }
        let (sum, tooLarge) = product.addingReportingOverflow(UInt64(clamping: attoseconds / 1_000_000_000_000_000))
        return tooLarge ? .max : sum
    }
}

extension Date {
    init(unixMilliseconds: UInt64) {
        self.init(timeIntervalSince1970: Double(unixMilliseconds) / 1000)
    }

    /// A time before 1970 counts as its beginning.
    var unixMilliseconds: UInt64 {
        let milliseconds = (timeIntervalSince1970 * 1000).rounded()
        guard milliseconds > 0 else { return 0 }
        return UInt64(exactly: milliseconds) ?? .max
    }
}
