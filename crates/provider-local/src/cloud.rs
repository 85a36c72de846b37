//! The port, told of this machine.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use reeve_ports::cloud::{
    Address, Answer, Cloud, CloudServer, CloudServerId, Created, Image, Items, LabelFilter, Plan, Preview, Removal,
    ServerSpec, ServerState, Stop, Zone,
};
use reeve_ports::{CloudError, CloudErrorKind};
use tracing::info;

use crate::plan::{Size, free};
use crate::program::io;
use crate::record::{Record, Wanted, folder_of, id_of, write_whole};
use crate::{Inner, Local, image, life, limits, needs, network, process};

/// The only one.
pub const ZONE: &str = "local";

impl Cloud for Local {
    fn vendor(&self) -> &'static str {
        "local"
    }

    fn settle_ms(&self) -> u64 {
        0
    }

    // It costs nobody anything, and they come and go in less than a second.
    fn look_ms(&self) -> Option<u64> {
        Some(100)
    }

    fn authenticate(&self) -> Answer<'_, ()> {
        Box::pin(async { needs::check(&self.inner.settings) })
    }

    fn zones(&self) -> Items<'_, Zone> {
        stream::iter([Ok(zone())]).boxed()
    }

    fn plans(&self) -> Items<'_, Plan> {
        stream::iter(Size::listed().map(Ok)).boxed()
    }

    fn images(&self) -> Items<'_, Image> {
        stream::iter(image::all(&self.inner.settings).into_iter().map(Ok)).boxed()
    }

    fn check<'a>(&'a self, spec: &'a ServerSpec) -> Answer<'a, Preview> {
        Box::pin(async {
            let inner = &self.inner;
            let (size, image) = inner.check(spec)?;
            let id = CloudServerId(id_of(&inner.settings.folder, &spec.operation));
            let existing = match inner.find(&id) {
                Ok((record, host)) => Some(inner.server(&record, &host)),
                Err(error) if error.kind == CloudErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            Ok(Preview { plan: size.plan(), zone: zone(), image, disk_gb: None, price: Some(free()), existing })
        })
    }

    fn create<'a>(&'a self, spec: &'a ServerSpec) -> Answer<'a, Created> {
        Box::pin(async { self.inner.create(spec).await })
    }

    fn get<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, CloudServer> {
        Box::pin(async {
            let (record, host) = self.inner.find(id)?;
            Ok(self.inner.look(&record, &host))
        })
    }

    fn list<'a>(&'a self, filter: &'a LabelFilter) -> Items<'a, CloudServer> {
        let hosts = match Record::all(&self.inner.settings.folder) {
            Ok((hosts, _)) => hosts,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let hosts = hosts.into_iter().filter(|host| filter.matches(&host.labels));
        let folder = self.inner.settings.folder.join("hosts");
        stream::iter(hosts.map(move |host| Ok(self.inner.look(&host, &folder.join(&host.id))))).boxed()
    }

    fn start<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, ()> {
        Box::pin(async {
            let inner = &self.inner;
            let changing = inner.changing().await?;
            let (mut record, host) = inner.living(id)?;
            if record.wanted == Wanted::Down && process::is_held(&host) {
                return Err(CloudError::new(CloudErrorKind::Busy, "the host is still going down"));
            }
            record.wanted = Wanted::Up;
            record.save(&host)?;
            inner.bring_up(&mut record, &host, &changing).await
        })
    }

    fn stop<'a>(&'a self, id: &'a CloudServerId, how: Stop) -> Answer<'a, ()> {
        Box::pin(async move {
            let inner = &self.inner;
            let _changing = inner.changing().await?;
            let (mut record, host) = inner.living(id)?;
            record.wanted = Wanted::Down;
            record.save(&host)?;
            match how {
                Stop::Hard => {
                    process::kill(&host).await?;
                    limits::remove(&record.id);
                }
                Stop::Soft { timeout_s } => {
                    process::signal(&host, image::ending(&record.image))?;
                    inner.end_softly(id.clone(), host, Duration::from_secs(timeout_s.into()));
                }
            }
            Ok(())
        })
    }

    fn reboot<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, ()> {
        Box::pin(async {
            let inner = &self.inner;
            let _changing = inner.changing().await?;
            let (mut record, host) = inner.living(id)?;
            if !process::is_held(&host) {
                return Err(CloudError::new(CloudErrorKind::State, "the host is off; start it"));
            }
            record.wanted = Wanted::Restart;
            record.save(&host)?;
            process::signal(&host, image::ending(&record.image))?;
            inner.restart_softly(id.clone(), host);
            Ok(())
        })
    }

    fn delete<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, Removal> {
        Box::pin(async {
            let inner = &self.inner;
            let changing = inner.changing().await?;
            match inner.find(id) {
                Ok((mut record, host)) => inner.remove(&mut record, &host, &changing).await?,
                Err(error) if error.kind == CloudErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            Ok(Removal::Gone)
        })
    }
}

fn zone() -> Zone {
    let title = match limits::gaps() {
        None => "this machine".to_owned(),
        Some(gaps) => format!("this machine ({gaps})"),
    };
    Zone { name: ZONE.to_owned(), title, public: true }
}

impl Inner {
    /// A host that is not on its way out.
    fn living(&self, id: &CloudServerId) -> Result<(Record, std::path::PathBuf), CloudError> {
        let (record, host) = self.find(id)?;
        if record.wanted == Wanted::Gone {
            return Err(CloudError::new(CloudErrorKind::State, "the host is being deleted"));
        }
        Ok((record, host))
    }

    fn check(&self, spec: &ServerSpec) -> Result<(Size, Image), CloudError> {
        needs::check(&self.settings)?;
        spec.validate()?;
        let size = Size::parse(&spec.plan)?;
        if spec.zone != ZONE {
            return Err(CloudError::invalid("zone", format!("there is no zone {:?} here, only {ZONE}", spec.zone)));
        }
        if let Some(data) = &spec.user_data
            && !data.expose().starts_with("#!/")
        {
            let text = "local hosts have no cloud-init: give a script that begins with a line such as #!/bin/sh";
            return Err(CloudError::invalid("user_data", text));
        }
        Ok((size, image::find(&self.settings, &spec.image)?))
    }

    async fn create(&self, spec: &ServerSpec) -> Result<Created, CloudError> {
        let (_, image) = self.check(spec)?;
        let changing = self.changing().await?;
        let id = CloudServerId(id_of(&self.settings.folder, &spec.operation));
        let host = folder_of(&self.settings.folder, &id)?;
        let (hosts, rest) = Record::all(&self.settings.folder)?;
        for leftover in rest {
            // Somebody died before the order was written down: nothing of it runs.
            life::remove_folder(leftover).await?;
        }
        let earlier = hosts.iter().find(|known| known.id == id.as_str()).cloned();
        let found = earlier.is_some();
        let mut record = match earlier {
            Some(record) if record.wanted == Wanted::Gone => {
                return Err(CloudError::new(CloudErrorKind::Busy, "the host of this operation is being deleted"));
            }
            Some(record) => {
                if (&record.hostname, &record.plan, &record.image) != (&spec.hostname, &spec.plan, &image.name) {
                    let text = format!("this operation has already ordered {} ({})", record.hostname, record.plan);
                    return Err(CloudError::new(CloudErrorKind::Conflict, text));
                }
                record
            }
            None => self.write_down(spec, &image, &hosts, &id, &host)?,
        };
        if record.wanted == Wanted::Up && self.state(&record, &host) != ServerState::Stopped {
            self.bring_up(&mut record, &host, &changing).await?;
        }
        Ok(Created { server: self.server(&record, &host), login_user: image.login_user, found, surplus: Vec::new() })
    }

    /// From here on the host exists, and a repeat of the order finds it.
    fn write_down(
        &self,
        spec: &ServerSpec,
        image: &Image,
        hosts: &[Record],
        id: &CloudServerId,
        host: &Path,
    ) -> Result<Record, CloudError> {
        let record = Record {
            id: id.as_str().to_owned(),
            hostname: spec.hostname.clone(),
            plan: spec.plan.clone(),
            image: image.name.clone(),
            labels: spec.all_labels(),
            address: network::free_address(self.settings.pool, hosts)?,
            created_at: self.clock.now(),
            wanted: Wanted::Up,
            problem: None,
        };
        fs::create_dir_all(host).map_err(io("make", host))?;
        let keys: String = spec.ssh_keys.iter().map(|key| format!("{}\n", key.public_key)).collect();
        write_whole(&host.join("authorized_keys"), keys.as_bytes(), 0o600)?;
        if let Some(data) = &spec.user_data {
            write_whole(&host.join("user-data"), data.expose().as_bytes(), 0o600)?;
        }
        record.save(host)?;
        info!(host = %record.id, hostname = %record.hostname, address = %record.address, "a local host is made");
        Ok(record)
    }

    /// A host as it is. Whoever looks also makes it go on where it was interrupted, by a crash or by an image that had to
    /// be made first.
    fn look(self: &Arc<Self>, record: &Record, host: &Path) -> CloudServer {
        let server = self.server(record, host);
        let interrupted = match record.wanted {
            Wanted::Up => server.state == ServerState::Creating && !process::is_held(host),
            Wanted::Restart => true,
            Wanted::Down | Wanted::Gone => false,
        };
        if interrupted {
            self.resume(server.id.clone());
        }
        server
    }

    fn server(&self, record: &Record, host: &Path) -> CloudServer {
        CloudServer {
            id: CloudServerId(record.id.clone()),
            hostname: record.hostname.clone(),
            plan: record.plan.clone(),
            zone: ZONE.to_owned(),
            state: self.state(record, host),
            addresses: Some(vec![Address { ip: record.address.into(), public: false }]),
            labels: record.labels.clone(),
            created_at: Some(record.created_at),
        }
    }
}
