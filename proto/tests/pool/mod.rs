//! The descriptors of the `.proto` files, for tests that must leave nothing out.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

pub(crate) static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(&include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"))[..]).unwrap()
});
