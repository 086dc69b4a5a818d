//! The page's files.

use axum::http::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

/// A file of the page, as it is and as gzip.
struct Asset {
    path: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

/// By path, sorted. Empty where the page was not built.
const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Shown in place of a page that was not built.
const MISSING: &str = include_str!("missing.html");

/// Answers every path: with a file, or with the page, which finds out by itself what the path means.
pub async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")]).into_response();
    }
    let path = uri.path().trim_start_matches('/');
    if path.starts_with("api/") || path.starts_with("socket.io") {
        let body = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"there is nothing here, see /api/v1/openapi.json"}"#;
        return (
            StatusCode::NOT_FOUND,
            [(CONTENT_TYPE, "application/problem+json")],
            body,
        )
            .into_response();
    }
    let find = |path: &str| ASSETS.iter().find(|asset| asset.path == path);
    if let Some(asset) = find(path) {
        return answer(asset, &headers);
    }
    // A file that is asked for by name and is not there is no page: a browser that is older than the program would run HTML as a script.
    if path.starts_with("assets/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    match find("index.html") {
        Some(page) => answer(page, &headers),
        None => {
            let told = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")];
            (StatusCode::SERVICE_UNAVAILABLE, told, MISSING).into_response()
        }
    }
}

fn answer(asset: &Asset, asked: &HeaderMap) -> Response {
    let packed = takes_gzip(asked) && asset.gzip.len() < asset.plain.len();
    let mut response = match packed {
        true => asset.gzip.into_response(),
        false => asset.plain.into_response(),
    };
    // What lies in `assets` has its hash in its name.
    let kept = match asset.path.starts_with("assets/") {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind(asset.path)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let asked = headers.get_all(ACCEPT_ENCODING).iter();
    let mut codings = asked
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0")
    })
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "map" => "application/json",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}
