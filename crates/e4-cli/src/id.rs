use crate::output::{Failure, Output};
use e4::ClientId;
use serde::Serialize;

/// Show the id and the control topic of a client
///
/// The id is the first 16 bytes of the name's SHA3-256. The control topic is where the client receives the commands of
/// its key server.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  e4 id pump-7")]
pub(crate) struct Args {
    /// The client's name; spaces and case count
    name: String,
}

/// The client that is meant, by its name or its id.
#[derive(clap::Args, Clone)]
#[group(id = "client", multiple = false)]
pub(crate) struct ClientArgs {
    /// The client's name
    #[arg(long, allow_hyphen_values = true)]
    name: Option<String>,
    /// The client's id instead of its name: 32 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    id: Option<ClientId>,
}

impl ClientArgs {
    /// The id, if the client was given.
    pub(crate) fn id(&self) -> Result<Option<ClientId>, Failure> {
        Ok(match &self.name {
            Some(name) => Some(ClientId::from_name(name)?),
            None => self.id,
        })
    }

    /// The id, where clap has seen to it that there is one.
    pub(crate) fn required_id(&self) -> Result<ClientId, Failure> {
        Ok(self.id()?.ok_or_else(|| anyhow::anyhow!("name the client with --name or --id"))?)
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    id: String,
    control_topic: String,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let id = ClientId::from_name(&args.name)?;
    let shown = Shown { name: &args.name, id: id.to_string(), control_topic: id.control_topic().to_string() };
    output.print(&shown, || format!("id             {}\ncontrol topic  {}", shown.id, shown.control_topic))
}
