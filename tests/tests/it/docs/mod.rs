//! Documents, examples, bindings and manifests agree with the code.

mod bindings;
mod commands_and_links;
mod dependencies;
mod examples;
mod layers;
mod server_times;
