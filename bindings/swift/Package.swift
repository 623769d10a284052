// swift-tools-version:6.0
import Foundation
import PackageDescription

// The native library: on Apple's systems the XCFramework that `xcframework.sh` makes, elsewhere the library that `generate.sh` has put
// into `lib`.
let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
let framework = "IMBridge.xcframework"
let isFramework = FileManager.default.fileExists(atPath: folder.appendingPathComponent(framework).path)
let native: Target =
    isFramework
    ? .binaryTarget(name: "im_ffiFFI", path: framework)
    : .target(name: "im_ffiFFI", linkerSettings: [.linkedLibrary("im_ffi")])

let package = Package(
    name: "im-client",
    platforms: [.iOS(.v16), .macOS(.v13), .tvOS(.v16), .watchOS(.v9), .visionOS(.v1)],
    products: [.library(name: "IMClient", targets: ["IMClient"])],
    targets: [
        native,
        // Generated: no other target but IMClient imports it.
        .target(name: "IMBridge", dependencies: ["im_ffiFFI"]),
        .target(name: "IMClient", dependencies: ["IMBridge"]),
        .executableTarget(name: "Chat", dependencies: ["IMClient"], path: "Examples/Chat"),
        .executableTarget(name: "Benchmark", dependencies: ["IMClient"], path: "Benchmark"),
        .executableTarget(name: "ScenarioDriver", dependencies: ["IMClient"], path: "Tests/ScenarioDriver"),
        .testTarget(name: "IMClientTests", dependencies: ["IMClient"]),
    ],
    swiftLanguageModes: [.v6]
)
