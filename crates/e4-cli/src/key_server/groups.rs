//! `e4 fleet groups`.

use super::{
    address::Path,
    answer::Answer,
    list::{self, ListArgs},
    names,
    server::{Seen, Server},
    table::{fields, or_dash},
};
use crate::{
    output::{Failure, Output},
    terminal::{note, printable},
};
use e4_keyserver_api::{Change, Group, GroupChange, GroupPolicy, NewGroup};

/// Groups of devices: listed, or by their labels
#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// List groups
    List(ListArgs),
    Add(Add),
    /// Show a group
    Show(Named),
    Edit(Edit),
    /// Make devices members of a group whose members are listed
    Join(Members),
    /// Take devices out of a group whose members are listed
    ///
    /// They lose what they could read as members: those topics get new keys, as their policy says.
    Leave(Members),
    /// Remove a group
    ///
    /// Its members lose what they could read as members: those topics get new keys, as their policy says.
    Remove(Named),
}

/// Make a group
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 fleet groups add visitors
  e4 fleet groups add basel-panels --selector site=basel,kind=panel --late 3600")]
pub(super) struct Add {
    /// Its name
    name: String,
    /// Its members are the devices with all of these labels; without this they are listed (`join`)
    #[arg(long, value_name = "LABELS")]
    selector: Option<String>,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// A group
#[derive(clap::Args)]
pub(super) struct Named {
    /// Its name
    group: String,
}

/// Change the labels or the policy of a group
#[derive(clap::Args)]
pub(super) struct Edit {
    /// Its name
    group: String,
    /// Its members are the devices with all of these labels
    #[arg(long, value_name = "LABELS")]
    selector: Option<String>,
    #[command(flatten)]
    policy: PolicyArgs,
}

#[derive(clap::Args)]
pub(super) struct Members {
    /// The group
    group: String,
    /// The devices, by name or id
    #[arg(required = true)]
    devices: Vec<String>,
}

#[derive(clap::Args)]
#[group(skip)]
struct PolicyArgs {
    /// Who has not confirmed after so many seconds is late
    #[arg(long, value_name = "SECONDS")]
    late: Option<u32>,
    /// Who was silent for so many seconds is no longer waited for
    #[arg(long, value_name = "SECONDS")]
    dormant: Option<u32>,
    /// Keys are changed without who was silent for so many seconds
    #[arg(long, value_name = "SECONDS")]
    lapsed: Option<u32>,
}

impl PolicyArgs {
    fn over(&self, policy: GroupPolicy) -> GroupPolicy {
        GroupPolicy {
            late: self.late.or(policy.late),
            dormant: self.dormant.or(policy.dormant),
            lapsed: self.lapsed.or(policy.lapsed),
        }
    }
}

pub(super) fn run(action: &Action, server: &Server, output: Output) -> Result<(), Failure> {
    match action {
        Action::List(args) => {
            let columns = ["name", "members", "selector"];
            list::print(server, &Path::new(&["groups"]), args, output, &columns, |group: &Group| {
                vec![group.name.clone(), group.members.to_string(), or_dash(group.selector.as_ref())]
            })
        }
        Action::Add(args) => {
            let policy = args.policy.over(GroupPolicy::default());
            let group = NewGroup { name: args.name.clone(), selector: args.selector.clone(), policy };
            print(&server.post(&Path::new(&["groups"]), &group)?, output)
        }
        Action::Show(args) => print(&server.get(&Path::new(&["groups", &args.group]))?, output),
        Action::Edit(args) => {
            let path = Path::new(&["groups", &args.group]);
            let group: Group = server.get(&path)?.read()?;
            let policy = Some(args.policy.over(group.policy));
            let change = GroupChange { selector: args.selector.clone(), policy };
            print(&server.patch(&path, &change, Seen::Revision(group.revision))?, output)
        }
        Action::Join(args) => {
            args.each(server, output, "is a member", |server, path| server.put(path, &serde_json::json!({})))
        }
        Action::Leave(args) => args.each(server, output, "is no member", Server::delete),
        Action::Remove(args) => {
            let answer = server.delete(&Path::new(&["groups", &args.group]))?;
            changed(&answer, &format!("The group {} is removed", printable(&args.group)), output)
        }
    }
}

impl Members {
    fn each(
        &self,
        server: &Server,
        output: Output,
        done: &str,
        change: impl Fn(&Server, &Path) -> Result<Answer, Failure>,
    ) -> Result<(), Failure> {
        for device in &self.devices {
            let id = names::device(server, device)?;
            let answer = change(server, &Path::new(&["groups", &self.group, "members", &id]))?;
            changed(&answer, &format!("{} {done} of {}", printable(device), printable(&self.group)), output)?;
        }
        Ok(())
    }
}

fn print(answer: &Answer, output: Output) -> Result<(), Failure> {
    if output.json {
        return output.print(&answer.value()?, String::new);
    }
    let group: Group = answer.read()?;
    let seconds = |time: Option<u32>| time.map(|time| format!("after {time} s")).unwrap_or_default();
    output.print(&(), || {
        fields(&[
            ("name", group.name.clone()),
            ("members", group.members.to_string()),
            ("selector", group.selector.clone().unwrap_or_else(|| "none: its members are listed".to_owned())),
            ("late", seconds(group.policy.late)),
            ("dormant", seconds(group.policy.dormant)),
            ("lapsed", seconds(group.policy.lapsed)),
            ("added", group.created.clone()),
        ])
    })
}

/// Says what was done, what it leads to, and what there is to know about it.
pub(super) fn changed(answer: &Answer, done: &str, output: Output) -> Result<(), Failure> {
    if output.json {
        return output.print(&answer.value()?, String::new);
    }
    let change: Change = if answer.body.is_empty() { Change::default() } else { answer.read()? };
    for warning in &change.warnings {
        note(format!("Note: {}", printable(warning)));
    }
    let orders: Vec<_> = change.orders.iter().map(ToString::to_string).collect();
    output.print(&(), || match &orders[..] {
        [] => done.to_owned(),
        [order] => format!("{done}; order {order} follows from it: `e4 fleet orders watch {order}`"),
        several => format!("{done}; orders {} follow from it: see `e4 fleet orders list`", several.join(", ")),
    })
}
