//! `tricorn token`.

use anyhow::Result;
use clap::Subcommand;
use http::Method;

use super::table::columns;
use crate::admin::Cluster;
use crate::protocol::{CreateToken, NewToken, TokenInfo};

/// Join tokens: what a new server or worker is told, so that it finds the right cluster and may enter it.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  tricorn token create                              a worker's, good for a day\n  tricorn token create --role server --ttl 15m\n  tricorn token list\n  tricorn token delete 1f3a5c7e9b"
)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a token, and print it
    Create {
        /// What its bearer may join as
        #[arg(long, default_value = "agent", value_parser = ["agent", "server"])]
        role: String,
        /// How long it is good for, such as 30m, 24h or 7d; 0 for ever
        #[arg(long, default_value = "24h", value_parser = read_duration)]
        ttl: i64,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        /// Print as JSON
        #[arg(short, long, value_parser = ["json"])]
        output: Option<String>,
    },
    /// List the tokens, without their secrets
    List {
        /// Print as JSON
        #[arg(short, long, value_parser = ["json"])]
        output: Option<String>,
    },
    /// Take tokens back
    Delete {
        /// The tokens' ids
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

impl Args {
    /// Asks the cluster.
    #[allow(clippy::print_stdout)]
    pub async fn run(self) -> Result<()> {
        let admin = self.cluster.admin().await?;
        match self.verb {
            Verb::Create { role, ttl, description, output } => {
                let wish = CreateToken { role, description, ttl_seconds: (ttl > 0).then_some(ttl) };
                let made: NewToken = admin.post("/tokens", &wish).await?;
                match output {
                    Some(_) => println!("{}", serde_json::to_string(&made)?),
                    None => println!("{}", made.token),
                }
            }
            Verb::List { output } => {
                let tokens: Vec<TokenInfo> = admin.get("/tokens").await?;
                match output {
                    Some(_) => println!("{}", serde_json::to_string(&tokens)?),
                    None => print!("{}", table(&tokens)),
                }
            }
            Verb::Delete { ids } => {
                for id in ids {
                    admin.act(Method::DELETE, &format!("/tokens/{id}")).await?;
                    eprintln!("token {id} deleted");
                }
            }
        }
        Ok(())
    }
}

fn table(tokens: &[TokenInfo]) -> String {
    let mut rows = vec![["ID", "ROLE", "CREATED", "EXPIRES", "DESCRIPTION"].map(str::to_owned)];
    rows.extend(tokens.iter().map(|token| {
        let expires = token.expires.map_or("never".to_owned(), moment);
        [token.id.clone(), token.role.clone(), moment(token.created), expires, token.description.clone()]
    }));
    columns(&rows)
}

/// Seconds since 1970 as RFC 3339.
fn moment(seconds: i64) -> String {
    k8s_openapi::jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// `90`, `90s`, `30m`, `24h`, `7d` as seconds.
fn read_duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?}: want a duration such as 30m, 24h or 7d");
    let (number, unit) = match text.find(|letter: char| !letter.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_or_refused() {
        for (text, seconds) in [("90", Ok(90)), ("30m", Ok(1800)), ("24h", Ok(86_400)), ("7d", Ok(604_800)), ("0", Ok(0))] {
            assert_eq!(read_duration(text), seconds);
        }
        for text in ["", "h", "1w", "-1h", "99999999999999999999d"] {
            assert!(read_duration(text).is_err(), "{text}");
        }
    }
}
