//! EC2 as a [`Cloud`].

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use reeve_ports::cloud::{
    Answer, Cloud, CloudError, CloudErrorKind, CloudServer, CloudServerId, Created, Image, Items, LabelFilter, Plan,
    Preview, Removal, ServerSpec, ServerState, Stop, Zone,
};

use super::shape::{InstanceType, InstanceTypes, MachineImages, ZoneItem, Zones};
use super::systems::SYSTEMS;
use super::{Aws, Form, image_noun, pair};

impl Cloud for Aws {
    fn vendor(&self) -> &'static str {
        "aws"
    }

    fn settle_ms(&self) -> u64 {
        // A double is refused for its token; this is for reading only.
        30_000
    }

    fn authenticate(&self) -> Answer<'_, ()> {
        async { self.ask::<serde::de::IgnoredAny>("DescribeAvailabilityZones", Form::new()).await.map(|_| ()) }.boxed()
    }

    fn zones(&self) -> Items<'_, Zone> {
        let page = |zones: Zones| (zones.availability_zone_info.item, String::new());
        self.pages("DescribeAvailabilityZones", Form::new(), page).map_ok(ZoneItem::into_noun).boxed()
    }

    fn plans(&self) -> Items<'_, Plan> {
        let page = |types: InstanceTypes| (types.instance_type_set.item, types.next_token);
        self.pages("DescribeInstanceTypes", vec![pair("MaxResults", "100")], page)
            .map_ok(InstanceType::into_noun)
            .boxed()
    }

    fn images(&self) -> Items<'_, Image> {
        let named =
            stream::iter(SYSTEMS).flat_map(|system| stream::iter(["x86_64", "arm64"]).map(move |a| (system, a)));
        let latest = named.filter_map(move |(system, architecture)| async move {
            let plan = Plan {
                name: architecture.to_owned(),
                cpu_cores: 0,
                memory_mib: 0,
                disk_gb: None,
                architecture: Some(architecture.to_owned()),
                zones: None,
                prices: Vec::new(),
            };
            match self.machine_image(system.name, &plan).await {
                Ok(image) => {
                    let login_user = system.login_user.to_owned();
                    Some(Ok(Image { name: system.name.to_owned(), login_user, ..image_noun(&image) }))
                }
                // Not published in this region.
                Err(error) if matches!(error.kind, CloudErrorKind::Invalid { .. }) => None,
                Err(error) => Some(Err(error)),
            }
        });
        let own = self.pages("DescribeImages", vec![pair("Owner.1", "self")], |images: MachineImages| {
            (images.images_set.item, String::new())
        });
        latest.chain(own.map_ok(|image| image_noun(&image))).boxed()
    }

    fn check<'a>(&'a self, spec: &'a ServerSpec) -> Answer<'a, Preview> {
        self.preview(spec).boxed()
    }

    fn create<'a>(&'a self, spec: &'a ServerSpec) -> Answer<'a, Created> {
        self.order(spec).boxed()
    }

    fn get<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, CloudServer> {
        async { Ok(self.instance(id).await?.into_noun()) }.boxed()
    }

    fn list<'a>(&'a self, filter: &'a LabelFilter) -> Items<'a, CloudServer> {
        self.listed(filter)
    }

    fn start<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, ()> {
        self.switch("StartInstances", id, Form::new(), ServerState::Running).boxed()
    }

    fn stop<'a>(&'a self, id: &'a CloudServerId, how: Stop) -> Answer<'a, ()> {
        let more = match how {
            Stop::Soft { .. } => Form::new(),
            Stop::Hard => vec![pair("Force", "true")],
        };
        self.switch("StopInstances", id, more, ServerState::Stopped).boxed()
    }

    fn reboot<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, ()> {
        async {
            match self.instance(id).await?.into_noun().state {
                ServerState::Stopped => Err(CloudError::new(CloudErrorKind::State, "the server is off; start it")),
                _ => self.act("RebootInstances", id, Form::new()).await,
            }
        }
        .boxed()
    }

    fn delete<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, Removal> {
        self.remove(id).boxed()
    }
}
