//! Commands in the documents name crates, programs, options and files that exist, and no link is broken.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use im_tests::binary;
use serde_json::Value;

/// Documents with commands. The first two must contain the same ones.
const DOCUMENTS: [&str; 26] = [
    "README.md",
    "README.zh-CN.md",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "tests/CHAOS.md",
    "tests/bench/README.md",
    "tests/bench/RESULTS.md",
    "docs/dependencies.md",
    "docs/queues.md",
    "im-sdk/docs/changes.md",
    "im-sdk/docs/conversations.md",
    "im-sdk/docs/decisions.md",
    "im-sdk/docs/history.md",
    "im-sdk/docs/logs.md",
    "im-sdk/docs/publishing.md",
    "im-sdk/docs/redis-and-nats.md",
    "im-sdk/docs/rooms.md",
    "im-sdk/docs/sending.md",
    "im-sdk/docs/syncing.md",
    "im-server/docs/connecting.md",
    "im-server/docs/decisions.md",
    "im-server/docs/delivering.md",
    "im-server/docs/lifecycle.md",
    "tests/README.md",
];

/// Subcommands of `cargo` that are not checked any further.
const OTHER_CARGO: [&str; 4] = ["clippy", "deny", "doc", "fmt"];

/// Programs that are not part of the project.
const FOREIGN: [&str; 2] = ["git", "openssl"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap()
}

/// Returns the commands in a document: the lines of its shell blocks, and inline code that looks like a command.
fn commands(document: &str) -> Vec<Vec<String>> {
    let (mut commands, mut block) = (Vec::new(), None);
    for line in read(document).lines() {
        match (line.strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language == "sh"),
            (Some(_), Some(_)) => block = None,
            (None, Some(true)) => commands.push(words(line.split(" #").next().unwrap())),
            (None, Some(false)) => {}
            (None, None) => commands
                .extend(line.split('`').skip(1).step_by(2).map(words).filter(|words| is_command(words))),
        }
    }
    commands.retain(|words| !words.is_empty());
    commands
}

/// Splits a line into words. A placeholder in `<..>` and a substitution in `$(..)` are one word.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut open) = (vec![String::new()], false);
    for character in line.chars() {
        open = (open || "<(".contains(character)) && !">)".contains(character);
        match character {
            ' ' if !open => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns whether inline code is a command rather than a name.
fn is_command(words: &[String]) -> bool {
    let program = words.iter().find(|word| !is_variable(word)).map_or("", String::as_str);
    let is_script = program.contains('/') && program.ends_with(".sh");
    let is_file = ["./", ".ci/", "target/"].iter().any(|start| program.starts_with(start)) || is_script;
    (program == "cargo" && words.len() > 1) || (is_file && !program.contains('*'))
}

fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// The metadata of the workspace.
struct Workspace(Value);

impl Workspace {
    fn load() -> Self {
        let mut metadata = Command::new(env!("CARGO"));
        metadata.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).current_dir(root());
        Self(serde_json::from_slice(&metadata.output().unwrap().stdout).unwrap())
    }

    fn package(&self, name: &str) -> &Value {
        let packages = self.0["packages"].as_array().unwrap();
        packages.iter().find(|package| package["name"] == name).unwrap_or_else(|| panic!("no crate {name}"))
    }

    /// Returns the names of a crate's targets of a kind: `bin`, `test`, `bench`.
    fn targets(&self, package: &str, kind: &str) -> Vec<String> {
        let targets = self.package(package)["targets"].as_array().unwrap();
        let of_kind =
            targets.iter().filter(|target| target["kind"].as_array().unwrap().contains(&kind.into()));
        of_kind.map(|target| target["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the program that `cargo run` runs.
    fn program(&self, package: &str, named: Option<&String>) -> String {
        let programs = self.targets(package, "bin");
        let default = self.package(package)["default_run"].as_str().map(ToOwned::to_owned);
        let only = (programs.len() == 1).then(|| programs[0].clone());
        let program = named.cloned().or(default).or(only);
        let program = program.unwrap_or_else(|| panic!("{package} has several programs: {programs:?}"));
        assert!(programs.contains(&program), "{package} has no program {program}");
        program
    }
}

/// Returns the values of an option.
fn values<'a>(words: &'a [String], names: &[&str]) -> Vec<&'a String> {
    let pairs = words.iter().zip(words.iter().skip(1));
    pairs.filter(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value).collect()
}

fn check_cargo(workspace: &Workspace, variables: &[String], words: &[String]) {
    let (verb, rest) = words.split_first().unwrap();
    if OTHER_CARGO.contains(&verb.as_str()) {
        return;
    }
    assert!(["build", "run", "test", "bench"].contains(&verb.as_str()), "cargo {verb}");
    let end = rest.iter().position(|word| word == "--").unwrap_or(rest.len());
    let (own, arguments) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let packages = values(own, &["-p", "--package"]);
    for package in &packages {
        workspace.package(package);
    }
    let package = packages.first().map_or("im-tests", |package| package.as_str());
    for test in values(own, &["--test"]) {
        assert!(workspace.targets(package, "test").contains(test), "{package} has no test {test}");
        // A filter, behind the test's name.
        let filter = own.last().filter(|word| *word != test && !word.starts_with('-'));
        let text = test_text(test);
        filter.iter().flat_map(|filter| filter.split("::")).for_each(|part| {
            let is_way = ["embedded", "clustered"].iter().any(|setup| part.starts_with(setup));
            assert!(is_way || text.contains(part), "{test} has no test with {part} in its name");
        });
    }
    for feature in values(own, &["--features"]) {
        let features = workspace.package(package)["features"].as_object().unwrap();
        assert!(features.contains_key(feature), "{package} has no feature {feature}");
    }
    if verb == "run" {
        let program = workspace.program(package, values(own, &["--bin"]).first().copied());
        check_program(&program, variables, arguments);
    }
}

/// Returns names and sources of the files of a test target, which is a file or a folder.
fn test_text(test: &str) -> String {
    let path = root().join("tests/tests").join(test);
    let file = path.with_extension("rs");
    sources(if path.is_dir() { &path } else { &file })
}

fn sources(path: &Path) -> String {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries.map(|entry| sources(&entry.unwrap().path())).collect();
    }
    format!("{}\n{}\n", path.display(), fs::read_to_string(path).unwrap_or_default())
}

/// Asserts that a program knows these variables and options, and that its input files exist.
fn check_program(program: &str, variables: &[String], arguments: &[String]) {
    let options: BTreeSet<&str> = arguments
        .iter()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split('=').next().unwrap())
        .chain(variables.iter().map(|variable| variable.split('=').next().unwrap()))
        .collect();
    if options.is_empty() {
        return;
    }
    let help = |first: &[&String]| {
        let output = Command::new(binary(program)).args(first).arg("--help").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let subcommand: Vec<&String> =
        arguments.iter().take_while(|word| !word.starts_with('-')).take(1).collect();
    let known = help(&[]) + &help(&subcommand) + &variables_of(program);
    for option in options {
        let mut names =
            known.split(|character: char| !(character.is_alphanumeric() || "-_".contains(character)));
        assert!(names.any(|name| name == option), "{program} does not know {option}");
    }
    for file in arguments.iter().filter(|word| word.ends_with(".toml")) {
        assert!(root().join(file).is_file(), "there is no {file}");
    }
}

/// Returns the variables that a program reads, except those of its options.
fn variables_of(program: &str) -> String {
    if program != "im-server" {
        return String::new();
    }
    let (mut section, mut variables) = (String::new(), String::new());
    for line in read("im-server/im-server.example.toml").lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').replace('.', "_");
        } else if let Some((key, _)) = line.split_once(" = ") {
            variables += &format!("IM_{section}_{key} ").to_uppercase();
        }
    }
    variables
}

/// Asserts that a script or a built program exists and knows its options.
fn check_file(workspace: &Workspace, file: &str, arguments: &[String]) {
    if let Some(program) = file.strip_prefix("target/release/").or_else(|| file.strip_prefix("target/debug/"))
    {
        let known = ["im-server", "im-bench", "im-tests"]
            .iter()
            .any(|package| workspace.targets(package, "bin").iter().any(|name| name == program));
        return assert!(known, "no crate makes {file}");
    }
    if file.starts_with("target/") {
        return;
    }
    let script = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    for option in arguments.iter().filter(|word| word.starts_with("--")) {
        assert!(script.contains(option.as_str()), "{file} does not know {option}");
    }
}

/// Asserts that the package exists and has the script that is run.
fn check_npm(arguments: &[String]) {
    let folder = values(arguments, &["--prefix"]).first().map_or(".", |folder| folder.as_str());
    let path = root().join(folder).join("package.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let package: Value = serde_json::from_str(&text).unwrap();
    for script in values(arguments, &["run"]) {
        assert!(package["scripts"].get(script).is_some(), "{folder} has no script {script}");
    }
}

#[test]
fn commands_name_what_is_there() {
    let workspace = Workspace::load();
    let mut checked = 0;
    for document in DOCUMENTS {
        let commands = commands(document);
        for command in commands.iter().flat_map(|line| line.split(|word| word == "&&")) {
            println!("{document}: {}", command.join(" "));
            let start = command.iter().position(|word| !is_variable(word)).unwrap_or(command.len());
            let (variables, words) = command.split_at(start);
            let Some((program, arguments)) = words.split_first() else { continue };
            match program.as_str() {
                "cargo" => check_cargo(&workspace, variables, arguments),
                "npm" => check_npm(arguments),
                program if FOREIGN.contains(&program) => {}
                file => check_file(&workspace, file, arguments),
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked} commands were found");
}

#[test]
fn both_readmes_have_the_same_commands_code_and_pictures() {
    let shown = |document: &str| {
        let text = read(document);
        let blocks: Vec<String> = text.split("```").skip(1).step_by(2).map(without_comments).collect();
        (blocks, commands(document).into_iter().map(placeholders).collect::<BTreeSet<_>>())
    };
    let (english, chinese) = (shown(DOCUMENTS[0]), shown(DOCUMENTS[1]));
    assert_eq!(english.0, chinese.0);
    assert_eq!(english.1, chinese.1);
    assert!(english.0.len() >= 6);
}

/// Removes comments and the text of placeholders, which are in the reader's language.
fn without_comments(block: &str) -> String {
    let lines = block.lines().map(|line| {
        let code = [" # ", "# ", "// "].iter().fold(line, |line, sign| line.split(sign).next().unwrap());
        placeholders(words(code)).join(" ")
    });
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn placeholders(words: Vec<String>) -> Vec<String> {
    let stands_for = |word: &str| word.split_once("=<").map(|(name, _)| format!("{name}=<>"));
    words.into_iter().map(|word| stands_for(&word).unwrap_or(word)).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut followed = 0;
    for document in DOCUMENTS.into_iter().chain(["proto/PROTOCOL.md"]) {
        let text = read(document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") || target.contains(char::is_whitespace) {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = root().join(document).parent().unwrap().join(file);
            let path = if file.is_empty() { root().join(document) } else { path };
            assert!(path.exists(), "{document}: {target} leads nowhere");
            if !anchor.is_empty() {
                let headings = headings(&fs::read_to_string(&path).unwrap());
                assert!(headings.contains(anchor), "{document}: {target} leads nowhere among {headings:?}");
            }
            followed += 1;
        }
    }
    assert!(followed > 60, "{followed} links were found");
}

/// Returns the anchors of a document's headings, as GitHub generates them.
fn headings(text: &str) -> BTreeSet<String> {
    let headings =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let name = |heading: &str| -> String {
        let kept = heading.to_lowercase();
        let kept = kept.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
        kept.map(|character| if character == ' ' { '-' } else { character }).collect()
    };
    headings.map(name).collect()
}
