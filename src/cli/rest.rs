//! REST calls of commands that ask a running service (`--url`), and of the demo.

#![allow(clippy::indexing_slicing)] // of JSON values only: what is not there is null

use serde_json::Value;

use crate::error::{Error, Result};

/// The variable with the token for a service that asks for one.
const TOKEN_VARIABLE: &str = "HOLDFAST_TOKEN";

/// A client of a running service; it sends the token in `HOLDFAST_TOKEN`, where there is one.
#[derive(Debug, Clone)]
pub struct Rest {
    base: String,
    client: reqwest::Client,
}

impl Rest {
    /// A client of the service at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), client: reqwest::Client::new() }
    }

    /// The address of the service.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Reads a JSON answer.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.answer(path, self.client.get(format!("{}{path}", self.base))).await
    }

    /// Sends a JSON body and reads a JSON answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.answer(path, self.client.post(format!("{}{path}", self.base)).json(body)).await
    }

    async fn answer(&self, path: &str, request: reqwest::RequestBuilder) -> Result<Value> {
        let failed = |error: reqwest::Error| {
            Error::temporary("service-call", format!("call {path} of the service"))
                .source(error.without_url())
        };
        let request = match std::env::var(TOKEN_VARIABLE) {
            Ok(token) if !token.is_empty() => request.bearer_auth(token),
            _ => request,
        };
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if !status.is_success() {
            let text = answer.text().await.map_err(failed)?;
            return Err(Error::permanent(
                "service-call",
                format!("{path} answered {status}: {}", text.trim()),
            ));
        }
        answer.json().await.map_err(failed)
    }
}
