//! What a handler knows of the request beside its body.

use crate::info::{Query, RequestInfo};
use http::HeaderMap;
use parking_lot::Mutex;
use std::sync::Arc;
use tricorn_meta::UserInfo;
use tricorn_registry::WriteOptions;

/// What a handler knows of the request beside its body.
pub(crate) struct Context {
    pub user: Arc<UserInfo>,
    pub info: RequestInfo,
    pub query: Query,
    pub headers: HeaderMap,
    /// Writes happen in this term or not at all.
    pub fence: Option<u64>,
    warnings: Mutex<Vec<String>>,
}

impl Context {
    pub(crate) fn new(user: Arc<UserInfo>, info: RequestInfo, query: Query, headers: HeaderMap, fence: Option<u64>) -> Self {
        Self { user, info, query, headers, fence, warnings: Mutex::default() }
    }

    /// A request that the server makes to itself.
    pub(crate) fn internal(user: UserInfo) -> Self {
        Self::new(Arc::new(user), RequestInfo::default(), Query::default(), HeaderMap::new(), None)
    }

    pub(crate) fn header(&self, name: http::header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A text for a `Warning` header of the answer; the same text is sent once.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let (text, mut warnings) = (text.into(), self.warnings.lock());
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock())
    }

    pub(crate) fn write_options(&self, dry_run: bool) -> WriteOptions {
        WriteOptions { fence: self.fence, dry_run }
    }
}
