//! Documents, examples and manifests agree with the code.

mod commands_and_links;
mod dependencies;
mod examples;
mod feature_table;
mod layers;
mod scenarios;
mod server_times;
