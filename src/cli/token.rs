//! `holdfast token`.

use clap::{Args, ValueEnum};

use crate::api::token_hash;
use crate::config::{AuthToken, Role, is_name};
use crate::error::{Error, Result};

/// How many random bytes a token has.
const TOKEN_BYTES: usize = 32;

/// What a token begins with, so that scanners for leaked secrets and people know it.
const TOKEN_PREFIX: &str = "hft_";

/// Whom the token is for.
#[derive(Debug, Args)]
pub struct Options {
    /// What jobs, log and audit call whoever has it; also the user name of Basic credentials.
    name: String,
    /// What it may do.
    #[arg(long, value_enum)]
    role: RoleName,
    /// The only routines it has to do with; without it all of them.
    #[arg(long, value_delimiter = ',')]
    routines: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    /// Look.
    Viewer,
    /// Trigger, cancel, restore.
    Operator,
    /// Everything.
    Admin,
}

/// Prints a new token, once, and what the configuration needs to know of it.
pub fn run(options: &Options) -> Result<()> {
    if !is_name(&options.name) {
        return Err(Error::permanent("token-name", format!("\"{}\" cannot be a name", options.name))
            .hint("Take 1 to 64 of letters, digits, . _ @ and -."));
    }
    let token = format!(
        "{TOKEN_PREFIX}{}",
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(rand::random::<[u8; TOKEN_BYTES]>())
    );
    println!("token, shown only now: {token}");
    println!("for the list service.auth.tokens:");
    println!("{}", entry(options, &token));
    Ok(())
}

fn entry(options: &Options, token: &str) -> String {
    let role = match options.role {
        RoleName::Viewer => Role::Viewer,
        RoleName::Operator => Role::Operator,
        RoleName::Admin => Role::Admin,
    };
    let routines = (!options.routines.is_empty()).then(|| options.routines.clone());
    let entry = AuthToken { name: options.name.clone(), hash: token_hash(token), role, routines };
    let entry = serde_json::to_string(&entry).unwrap_or_default();
    // JSON is YAML, whatever characters a routine's name has.
    format!("- {entry}")
}

#[cfg(test)]
mod tests {
    use super::{Options, RoleName, entry};
    use crate::config::Config;
    use crate::model::UnixMillis;

    #[test]
    fn the_printed_line_is_what_the_configuration_reads() {
        let options =
            Options { name: "ops".into(), role: RoleName::Operator, routines: vec!["it's: daily".into()] };
        let line = entry(&options, "hft_x");
        assert!(!line.contains("hft_x"));
        let text = format!("service:\n  auth:\n    tokens:\n    {line}\n");
        let config = Config::parse(&text, "config.yaml", UnixMillis(0)).unwrap();
        let auth = config.service.unwrap().auth.unwrap();
        assert_eq!(auth.tokens[0].hash, crate::api::token_hash("hft_x"));
        assert_eq!(auth.tokens[0].routines.as_deref().unwrap(), ["it's: daily"]);
    }
}
