//! One rule for all error types: a text that tells a cause has no `source()` that tells it again, so that whoever prints the chain
//! (`{:#}` of anyhow, say) reads each cause once. [`im_proto::error_text!`] makes such types.

use std::{error::Error, fs, io, path::Path, sync::Arc};

use crate::{
    backend::{MessageStoreError, SendError, ServeError},
    cluster::{
        ArchiveError, BusError, ConnectError, ConversationsError, LogError, MembersError, RoutesError,
    },
    id::UserId,
};

/// All causes of an error, as who prints the chain reads them.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

#[test]
fn a_chain_tells_each_cause_once() {
    let cause = || io::Error::other("the disk is gone");
    let boxed = || -> Box<dyn Error + Send + Sync> { cause().into() };
    let user = UserId::parse("bob").unwrap();
    let log = || LogError::NotAppended { source: Arc::new(cause()) };
    let bus = || BusError::Failed { action: "subscribing", source: boxed() };
    let errors: Vec<Box<dyn Error>> = vec![
        Box::new(log()),
        Box::new(SendError::NotLogged { user, source: log() }),
        Box::new(RoutesError::Unavailable { action: "locate", source: boxed() }),
        Box::new(bus()),
        Box::new(ServeError::from(bus())),
        Box::new(ArchiveError::unknown(cause())),
        Box::new(MembersError::new("list members", cause())),
        Box::new(ConversationsError::new("list", cause())),
        Box::new(MessageStoreError::unavailable("write", cause())),
        Box::new(ConnectError::Unreachable { service: "Redis", address: "r:1".into(), source: boxed() }),
    ];
    for error in errors {
        let told = chain(&*error);
        assert_eq!(told.matches("the disk is gone").count(), 1, "{told}");
    }
}

/// The sources of all crates are looked at, so that the next type keeps the rule too.
#[test]
fn no_error_type_tells_a_cause_that_is_its_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut wrong = Vec::new();
    for folder in ["im-sdk/src", "im-server/src", "proto/src"] {
        visit(&root.join(folder), &mut wrong);
    }
    assert!(wrong.is_empty(), "use error_text! for these: {wrong:#?}");
}

fn visit(folder: &Path, wrong: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, wrong);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            look(&path, wrong);
        }
    }
}

/// Each `#[error("..")]`, and what it stands above: up to the next one, or to the end of the type.
fn look(path: &Path, wrong: &mut Vec<String>) {
    let text = fs::read_to_string(path).unwrap();
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    for part in code.split("#[error(").skip(1) {
        let Some((told, rest)) = part.split_once(")]") else { continue };
        let above = rest.split("\n}").next().unwrap_or_default();
        let has_source = ["#[from]", "#[source]", " source: "].iter().any(|mark| above.contains(mark));
        let tells = ["{0}", "{0:", "{source}", "{source:", ".0"].iter().any(|mark| told.contains(mark));
        if has_source && tells {
            wrong.push(format!("{}: {told}", path.display()));
        }
    }
}
