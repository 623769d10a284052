//! Compiles `im/v1/*.proto` with protox, so that no `protoc` has to be installed.

use std::{env, error::Error, fs, path::PathBuf};

use protox::prost::Message as _;

const PROTOS: [&str; 3] = ["im/v1/message.proto", "im/v1/frame.proto", "im/v1/cluster.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    println!("cargo::rerun-if-changed=im");
    let descriptors = protox::compile(PROTOS.map(|proto| root.join(proto)), [&root])?;
    // For tests that check by reflection that no message and no field is missing from the golden
    // vectors.
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin"), descriptors.encode_to_vec())?;
    prost_build::Config::new()
        .bytes(["."])
        // Ordered maps: equal messages have equal bytes.
        .btree_map(["."])
        // Hand-written, because it keeps unknown fields.
        .extern_path(".im.v1.Content", "crate::content::Content")
        .compile_fds(descriptors)?;
    Ok(())
}
