//! `/docs`: the API, as a page and as an OpenAPI document.

use std::fmt::Write;

use axum::{Json, Router, response::Html, routing::get};
use serde_json::Value;
use utoipa::openapi::OpenApi;

use crate::app::SharedApp;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}\
    h2{margin:2rem 0 .3rem;font-size:1rem}code,pre{font:14px ui-monospace,monospace}\
    pre{overflow:auto;padding:.6rem 1rem;border:1px solid #8884;border-radius:.5rem}b{display:inline-block;min-width:4rem}";

/// Returns the routes of the documentation.
pub(crate) fn router(document: OpenApi) -> Router<SharedApp> {
    let json = serde_json::to_value(&document).unwrap_or_default();
    let page = page(&json);
    Router::new()
        .route("/docs", get(async move || Html(page)))
        .route("/docs/openapi.json", get(async move || Json(json)))
}

fn page(document: &Value) -> String {
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Chat API</title>\
         <style>{STYLE}</style><h1>Chat API</h1><p>{}</p><p><a href=/docs/openapi.json>OpenAPI document</a></p>",
        escape(document["info"]["description"].as_str().unwrap_or_default())
    );
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let summary = ["summary", "description"]
                .iter()
                .find_map(|name| operation[name].as_str())
                .unwrap_or_default();
            _ = write!(
                page,
                "<h2><b>{}</b> <code>{}</code></h2><p>{}</p>",
                method.to_uppercase(),
                escape(path),
                escape(summary)
            );
            let request = &operation["requestBody"]["content"]["application/json"]["schema"];
            show(&mut page, "request", request, document);
            for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                show(&mut page, status, &response["content"]["application/json"]["schema"], document);
            }
        }
    }
    page
}

/// Appends the fields of a schema.
fn show(page: &mut String, title: &str, schema: &Value, document: &Value) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap_or(schema),
        None => schema,
    };
    if let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) {
        let fields = serde_json::to_string_pretty(properties).unwrap_or_default();
        _ = write!(
            page,
            "<details><summary>{}</summary><pre>{}</pre></details>",
            escape(title),
            escape(&fields)
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
