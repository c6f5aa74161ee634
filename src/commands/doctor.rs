//! `doctor`: what this machine can enforce, what is missing, what to do.

use palisade_runner::sandbox;

use crate::args::Doctor;
use crate::exit::Exit;
use crate::report::{self, Trouble};
use crate::{commands, config};

pub(crate) fn run(args: &Doctor) -> Result<Exit, Trouble> {
    let offer = sandbox::probe();
    let settings = config::load(&args.context);
    let enough = match &settings {
        Ok(settings) => offer.meets(settings.level).map_err(|error| Trouble::of(&error)),
        Err(_) => Ok(()),
    };
    if args.context.json {
        report::print(&commands::json(offer)?);
    } else {
        let findings = offer.findings();
        let line = |finding: &sandbox::Finding| {
            format!("{:8} {}: {}\n", if finding.present { "ok" } else { "missing" }, finding.layer, finding.text)
        };
        report::print(&findings.iter().map(line).collect::<String>());
    }
    let mut ready = true;
    if let Err(error) = settings {
        Trouble::from(error).print();
        ready = false;
    }
    if let Err(trouble) = enough {
        trouble.print();
        ready = false;
    }
    if !args.context.json {
        report::print(if ready { "ready\n" } else { "not ready\n" });
    }
    Ok(if ready { Exit::Fine } else { Exit::Findings })
}
