//! `tricorn member`.

use anyhow::{Result, bail};
use clap::Subcommand;
use http::Method;

use super::table::columns;
use crate::admin::Cluster;
use crate::protocol::MemberInfo;

/// The members of the store's Raft group: the servers.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  tricorn member list\n  tricorn member move-leader s2\n  tricorn member remove s3       (a dead one; then join its replacement)"
)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the members
    List {
        /// Print as JSON
        #[arg(short, long, value_parser = ["json"])]
        output: Option<String>,
    },
    /// How a member is added: servers add themselves when they join
    Add {
        /// The member's name
        name: String,
    },
    /// Let a learner that has caught up vote; one that joins does so by itself
    Promote {
        /// The member's name or id
        member: String,
    },
    /// Remove a member; refused when too few of the others can be reached
    Remove {
        /// The member's name or id
        member: String,
    },
    /// Hand leadership to a member
    MoveLeader {
        /// The member's name or id
        member: String,
    },
}

impl Args {
    /// Asks the cluster.
    #[allow(clippy::print_stdout)]
    pub async fn run(self) -> Result<()> {
        if let Verb::Add { name } = &self.verb {
            bail!(
                "a server adds itself: on its machine run `tricorn server --name {name} --join https://HOST:6443 --token-file FILE`, with a token of `tricorn token create --role server`"
            );
        }
        let admin = self.cluster.admin().await?;
        match self.verb {
            Verb::List { output } => {
                let members: Vec<MemberInfo> = admin.get("/members").await?;
                match output {
                    Some(_) => println!("{}", serde_json::to_string(&members)?),
                    None => print!("{}", table(&members)),
                }
            }
            Verb::Add { .. } => {}
            Verb::Promote { member } => {
                admin.act(Method::POST, &format!("/members/{member}/promote")).await?;
                eprintln!("{member} votes now");
            }
            Verb::Remove { member } => {
                admin.act(Method::DELETE, &format!("/members/{member}")).await?;
                eprintln!("{member} removed");
            }
            Verb::MoveLeader { member } => {
                admin.act(Method::POST, &format!("/members/{member}/lead")).await?;
                eprintln!("{member} leads now");
            }
        }
        Ok(())
    }
}

fn table(members: &[MemberInfo]) -> String {
    let mut rows = vec![["NAME", "ID", "ROLE", "PEERS", "CLIENTS"].map(str::to_owned)];
    rows.extend(members.iter().map(|member| {
        let role = match (member.leader, member.learner) {
            (true, _) => "leader",
            (_, true) => "learner",
            _ => "voter",
        };
        [member.name.clone(), member.id.clone(), role.to_owned(), member.peer_urls.join(","), member.client_urls.join(",")]
    }));
    columns(&rows)
}
