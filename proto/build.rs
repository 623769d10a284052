//! Compiles `im/v1/*.proto` with protox, so that no `protoc` has to be installed.

use std::{env, error::Error, path::PathBuf};

const PROTOS: [&str; 3] = ["im/v1/message.proto", "im/v1/frame.proto", "im/v1/cluster.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    println!("cargo::rerun-if-changed=im");
    let descriptors = protox::compile(PROTOS.map(|proto| root.join(proto)), [&root])?;
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
