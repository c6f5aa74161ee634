//! What stands for a transport that this build was made without: nothing is looked at, no shell starts, and the error names the feature.
//!
//! The values cannot be made, so that no code behind `meet` can run.

#[cfg(not(feature = "ssh"))]
pub(crate) mod ssh {
    use std::convert::Infallible;

    use crate::target::{SshTarget, TargetError};
    use crate::transport::wire::{Start, Wire};

    /// A host that is believed: none.
    pub(crate) struct Met {
        never: Infallible,
        pub(crate) fingerprint: String,
        pub(crate) known: bool,
    }

    /// A connection as a user of a host: none.
    #[derive(Debug)]
    pub(crate) struct Connection(Infallible);

    impl Met {
        /// # Errors
        /// Always: this build reaches no host.
        pub(crate) async fn meet(target: &SshTarget) -> Result<Self, TargetError> {
            Err(TargetError::NotBuiltIn { place: target.place(), feature: "ssh" })
        }

        pub(crate) fn by(&self) -> impl Iterator<Item = String> {
            std::iter::empty()
        }

        pub(crate) async fn enter(self, _: &SshTarget) -> Result<Connection, TargetError> {
            match self.never {}
        }
    }

    impl Connection {
        pub(crate) async fn shell(&self, _: Start) -> Result<Wire, TargetError> {
            match self.0 {}
        }

        pub(crate) async fn close(&self) {
            match self.0 {}
        }
    }
}

#[cfg(not(feature = "docker"))]
pub(crate) mod docker {
    use std::convert::Infallible;

    use crate::target::{ContainerSource, DockerTarget, TargetError};
    use crate::transport::wire::{Start, Wire};

    /// A container that was looked at: none.
    pub(crate) struct Met {
        never: Infallible,
        pub(crate) image: String,
        pub(crate) privileged: bool,
    }

    /// A running container: none.
    #[derive(Debug)]
    pub(crate) struct Container {
        never: Infallible,
        pub(crate) id: String,
    }

    impl Met {
        /// # Errors
        /// Always: this build reaches no container.
        pub(crate) async fn meet(target: &DockerTarget) -> Result<Self, TargetError> {
            let (ContainerSource::Container(place) | ContainerSource::Image(place)) = &target.source;
            Err(TargetError::NotBuiltIn { place: place.clone(), feature: "docker" })
        }

        pub(crate) async fn enter(self, _: &DockerTarget) -> Result<Container, TargetError> {
            match self.never {}
        }
    }

    impl Container {
        pub(crate) async fn shell(&self, _: Start) -> Result<Wire, TargetError> {
            match self.never {}
        }

        pub(crate) async fn close(&self) {
            match self.never {}
        }
    }
}
