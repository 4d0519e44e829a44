//! Files that pages need, compiled in. Their address names their content, so that they may be kept for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use sha2::{Digest, Sha256};

struct Asset {
    path: String,
    content_type: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(text: &'static str, ending: &str, content_type: &'static str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let name: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self { path: format!("/assets/{name}.{ending}"), content_type, text }
    }
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| Asset::new(include_str!("../assets/allclear.css"), "css", "text/css; charset=utf-8"));

/// The function `putInPlace(old, fresh)`, for scripts that keep a page as it is now.
pub const PUT_IN_PLACE: &str = include_str!("../assets/put.js");

static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = concat!(include_str!("../assets/put.js"), include_str!("../assets/allclear.js"));
    Asset::new(text, "js", "text/javascript; charset=utf-8")
});

static ICON: LazyLock<Asset> = LazyLock::new(|| Asset::new(include_str!("../assets/icon.svg"), "svg", "image/svg+xml"));

/// Where the icon of a window is.
pub(crate) fn icon_path() -> &'static str {
    &ICON.path
}

/// Where the stylesheet is.
pub(crate) fn style_path() -> &'static str {
    &STYLE.path
}

/// Where the script is that keeps pages as they are now.
pub(crate) fn script_path() -> &'static str {
    &SCRIPT.path
}

pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    let found = [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(&name));
    let Some(asset) = found else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [(CONTENT_TYPE, asset.content_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, asset.text).into_response()
}
