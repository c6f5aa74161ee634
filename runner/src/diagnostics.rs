//! The help of errors, in the form that reports read it in.

use std::fmt::Display;

use miette::Diagnostic;

use crate::audit::AuditError;
use crate::sandbox::SandboxError;

impl Diagnostic for AuditError {
    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        Some(Box::new(self.advice()))
    }
}

impl Diagnostic for SandboxError {
    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        self.advice().map(|help| Box::new(help) as Box<dyn Display>)
    }
}
