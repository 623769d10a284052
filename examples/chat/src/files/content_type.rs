//! Which types of files are accepted, and whether a file is of the type that it claims.

/// Types that are accepted, with a word for what their bytes look like. Types with the same word are not told apart: a `docx` is
/// a zip.
const ACCEPTED: &[(&str, &str)] = &[
    ("image/jpeg", "jpeg"),
    ("image/png", "png"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("video/mp4", "mp4"),
    ("video/quicktime", "mp4"),
    ("video/webm", "webm"),
    ("audio/webm", "webm"),
    ("audio/mp4", "mp4"),
    ("audio/ogg", "ogg"),
    ("audio/mpeg", "mp3"),
    ("audio/wav", "wav"),
    ("application/pdf", "pdf"),
    ("application/zip", "zip"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "zip"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "zip"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", "zip"),
    ("text/plain", "text"),
    ("text/csv", "text"),
    ("text/markdown", "text"),
    ("application/json", "text"),
];

/// Returns the type without parameters, if it is accepted.
pub(crate) fn accepted(content_type: &str) -> Option<&'static str> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ACCEPTED.iter().map(|(accepted, _)| *accepted).find(|accepted| *accepted == essence)
}

/// Returns `true` if the beginning of a file looks like this type.
pub(crate) fn matches(content_type: &str, beginning: &[u8]) -> bool {
    let family = ACCEPTED.iter().find(|(accepted, _)| *accepted == content_type).map(|(_, family)| *family);
    let found = infer::get(beginning).map(|found| found.mime_type());
    match family {
        None => false,
        Some("text") => found.is_none() && is_text(beginning),
        Some("zip") => {
            found.is_some_and(|found| found == "application/zip" || found.contains("officedocument"))
        }
        Some("webm") => matches!(found, Some("video/webm" | "video/x-matroska")),
        Some("mp4") => matches!(found, Some("video/mp4" | "video/quicktime" | "audio/m4a" | "video/x-m4v")),
        Some("ogg") => matches!(found, Some("audio/ogg" | "video/ogg" | "audio/opus")),
        Some("mp3") => found == Some("audio/mpeg"),
        Some("wav") => matches!(found, Some("audio/x-wav" | "audio/wav")),
        Some(_) => found == Some(content_type),
    }
}

/// Returns `true` if a browser may show it in the page. Everything else is downloaded.
pub(crate) fn is_shown(content_type: &str) -> bool {
    ["image/", "video/", "audio/"].iter().any(|kind| content_type.starts_with(kind))
}

/// Text is UTF-8 without controls. A browser never takes it for a page: it is downloaded, and `nosniff`.
fn is_text(beginning: &[u8]) -> bool {
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // The beginning may end within a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&beginning[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.chars().any(|character| character.is_control() && !matches!(character, '\n' | '\r' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const JPEG: &[u8] = b"\xFF\xD8\xFF\xE0\0\x10JFIF\0";

    #[test]
    fn a_file_is_what_it_claims_to_be() {
        assert!(matches("image/png", PNG));
        assert!(!matches("image/png", JPEG));
        assert!(matches("image/jpeg", JPEG));
        assert!(matches("text/plain", "hello, 世界".as_bytes()));
        assert!(matches("text/plain", &"世界".as_bytes()[..4]), "cut within a character");
        assert!(!matches("text/plain", PNG));
        assert!(!matches("text/plain", b"MZ\x90\0\x03"));
        assert!(!matches("application/pdf", b"<html><script>alert(1)</script>"));
        assert!(!matches("image/gif", b"<svg onload=alert(1)>"));
        assert!(matches("application/zip", b"PK\x03\x04\x14\0\0\0\x08\0"));
    }

    #[test]
    fn pages_and_programs_are_not_accepted() {
        for content_type in
            ["text/html", "image/svg+xml", "application/javascript", "application/x-msdownload", "", "image"]
        {
            assert_eq!(accepted(content_type), None, "{content_type}");
        }
        assert_eq!(accepted("Image/PNG; charset=x"), Some("image/png"));
        assert_eq!(accepted("audio/webm;codecs=opus"), Some("audio/webm"));
    }
}
