//! Compares the public API of the library crates with the lists in `api/`, and checks that every item has one path.
//!
//! ```sh
//! cargo run -p im-public-api              # fails if the API differs from the lists
//! cargo run -p im-public-api -- --update  # rewrites the lists
//! ```
//!
//! The lists are made from the JSON output of rustdoc, which is unstable: its format is that of the oldest supported Rust,
//! and `public-api` in the root `Cargo.toml` is the release that reads it. To enable the output for rustdoc alone, this
//! program also runs in rustdoc's place. Set for all of cargo, the variable would rebuild every dependency.
#![allow(clippy::print_stdout, reason = "this program prints")]

mod paths;

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// The crates whose API is listed, and the name of each as rustdoc writes it.
const CRATES: [(&str, &str); 3] =
    [("im-proto", "im_proto"), ("im-sdk", "im_sdk"), ("im-server", "im_server")];

/// Set where this program stands in for rustdoc: the path of rustdoc.
const RUSTDOC: &str = "IM_PUBLIC_API_RUSTDOC";

const USAGE: &str = "\
usage: im-public-api [--update]

Compares the public API of the library crates with the lists in api/, and fails if they differ, or if an item can
be reached by two paths.

  --update  rewrites the lists
  --help    this text";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let result = match (env::var_os(RUSTDOC), arguments.as_slice()) {
        (Some(rustdoc), _) => run_rustdoc(rustdoc.as_ref()),
        (None, []) => run(false),
        (None, [argument]) if argument == "--update" => run(true),
        (None, [argument]) if argument == "--help" => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        (None, _) => Err(USAGE.into()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

/// Runs rustdoc with this program's arguments and unstable options enabled.
fn run_rustdoc(rustdoc: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let status = Command::new(rustdoc).args(env::args_os().skip(1)).env("RUSTC_BOOTSTRAP", "1").status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(update: bool) -> Result<ExitCode, Box<dyn Error>> {
    let documents = document()?;
    let lists = root().join("api");
    fs::create_dir_all(&lists)?;
    let mut differs = false;
    for (name, file) in CRATES {
        let json = documents.join(format!("{file}.json"));
        check_paths(&json)?;
        let api = list(&json)?;
        let path = lists.join(format!("{name}.txt"));
        let listed = fs::read_to_string(&path).unwrap_or_default();
        if api == listed {
            continue;
        }
        if update {
            fs::write(&path, &api)?;
            println!("api/{name}.txt is up to date now");
        } else {
            differs = true;
            println!("The public API of {name} differs from api/{name}.txt:");
            print_difference(&listed, &api);
        }
    }
    if differs {
        println!("Run `cargo run -p im-public-api -- --update`, and review and commit the lists.");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the crates' documentation as JSON, and returns the folder that it is in.
fn document() -> Result<PathBuf, Box<dyn Error>> {
    // The whole workspace with all features, as clippy checks it: the dependencies are checked already.
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["doc", "--locked", "--workspace", "--lib", "--no-deps", "--all-features", "--quiet"]);
    cargo
        .current_dir(root())
        .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json --cap-lints allow");
    let rustdoc = env::var_os("RUSTDOC").unwrap_or_else(|| "rustdoc".into());
    cargo.env(RUSTDOC, rustdoc).env("RUSTDOC", env::current_exe()?);
    if !cargo.status()?.success() {
        return Err("cargo doc failed".into());
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("doc"))
}

/// Lists the public items of a crate, one a line. Leaves out the implementations that derives, auto traits and blanket
/// implementations bring.
fn list(json: &Path) -> Result<String, Box<dyn Error>> {
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .map_err(|error| format!("{}: {error}", json.display()))?;
    Ok(api.to_string())
}

/// Fails if a public item of a crate has more than one path.
fn check_paths(json: &Path) -> Result<(), Box<dyn Error>> {
    let rustdoc = serde_json::from_reader(BufReader::new(File::open(json)?))?;
    let several = paths::with_several_paths(&rustdoc);
    if several.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = several.iter().map(|paths| paths.join(" = ")).collect();
    Err(format!("public items with more than one path; remove a `pub use`:\n{}", lines.join("\n")).into())
}

fn print_difference(old: &str, new: &str) {
    let (before, after): (BTreeSet<&str>, BTreeSet<&str>) = (old.lines().collect(), new.lines().collect());
    before.difference(&after).for_each(|line| println!("- {line}"));
    after.difference(&before).for_each(|line| println!("+ {line}"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
