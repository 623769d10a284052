//! Reading a file by its link.

use std::ops::Range;

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
            CONTENT_SECURITY_POLICY, CONTENT_TYPE, RANGE, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};
use object_store::{GetOptions, ObjectStore, path::Path as Key};

use super::{
    content_type, data_key, find,
    links::{Signature, Variant},
    thumbnail_key,
};
use crate::{
    app::App,
    refusal::{Refusal, Result},
};

/// Answers with a file, or the range of it that is asked for.
pub(crate) async fn read(
    app: &App,
    id: &str,
    signature: &Signature,
    headers: &HeaderMap,
) -> Result<Response> {
    if !app.files.verify(id, signature) {
        return Err(Refusal::NoSuchFile.into());
    }
    let file = find(app, id).await?.filter(|file| file.is_complete.0).ok_or(Refusal::NoSuchFile)?;
    let (key, content_type) = match signature.variant {
        Variant::Thumbnail => (thumbnail_key(id), "image/jpeg"),
        Variant::Original | Variant::Download => (data_key(id), &*file.content_type),
    };
    let size = app
        .files
        .objects
        .get_opts(&Key::from(key.clone()), GetOptions::new().with_head(true))
        .await?
        .meta
        .size;
    let range = match headers.get(RANGE).map(|range| parse_range(range, size)) {
        Some(None) => {
            let unsatisfied = [(CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, unsatisfied).into_response());
        }
        Some(Some(range)) => Some(range),
        None => None,
    };
    let bytes = range.clone().unwrap_or(0..size);
    let options = GetOptions::new().with_range(Some(bytes.clone()));
    let stream = app.files.objects.get_opts(&Key::from(key), options).await?.into_stream();
    let mut response = Body::from_stream(stream).into_response();
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let content_range = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
        response.headers_mut().insert(CONTENT_RANGE, HeaderValue::try_from(content_range)?);
    }
    let is_shown = signature.variant != Variant::Download && content_type::is_shown(content_type);
    let disposition = format!(
        "{}; filename*=UTF-8''{}",
        if is_shown { "inline" } else { "attachment" },
        escape(&file.name)
    );
    response.headers_mut().extend([
        (CONTENT_TYPE, HeaderValue::try_from(content_type)?),
        (CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start)),
        (CONTENT_DISPOSITION, HeaderValue::try_from(disposition)?),
        (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600, immutable")),
        // Whatever it contains, it is no page of this site.
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
    ]);
    Ok(response)
}

/// Returns the range that a header asks for; `None` if there is no such range. Of several the first one is answered, as RFC 9110
/// allows.
fn parse_range(header: &HeaderValue, size: u64) -> Option<Range<u64>> {
    let ranges = header.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = ranges.split(',').next()?.trim().split_once('-')?;
    let range = match (first, last) {
        ("", suffix) => size.saturating_sub(suffix.parse().ok()?)..size,
        (first, "") => first.parse().ok()?..size,
        (first, last) => first.parse().ok()?..last.parse::<u64>().ok()?.saturating_add(1).min(size),
    };
    (range.start < range.end).then_some(range)
}

/// Escapes a name for a header (RFC 8187).
fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_within_the_file() {
        let parse = |range: &'static str| parse_range(&HeaderValue::from_static(range), 100);
        assert_eq!(parse("bytes=0-9"), Some(0..10));
        assert_eq!(parse("bytes=90-"), Some(90..100));
        assert_eq!(parse("bytes=-10"), Some(90..100));
        assert_eq!(parse("bytes=-1000"), Some(0..100));
        assert_eq!(parse("bytes=50-18446744073709551615"), Some(50..100));
        for range in ["bytes=100-", "bytes=9-0", "bytes=-0", "bytes=a-b", "lines=0-1", "bytes="] {
            assert_eq!(parse(range), None, "{range}");
        }
    }
}
