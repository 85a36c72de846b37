//! The providers of this build and where their APIs are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reeve_ports::cloud::{Cloud, CloudFactory, CredentialField, Credentials, Provider};
use reeve_ports::{CloudError, CloudErrorKind};
use reeve_types::{Clock, Secret};
use sha2::{Digest, Sha256};

use super::{Aws, AwsKeys, AwsSettings, Endpoint, Hetzner, UpCloud, UpCloudKeys, hetzner, upcloud};

/// Adapters that are kept; then all are made anew.
const MOST: usize = 1_000;

const UPCLOUD: &[CredentialField] = &[
    CredentialField { name: "token", environment: "UPCLOUD_TOKEN", title: "API token" },
    CredentialField { name: "username", environment: "UPCLOUD_USERNAME", title: "API user, with password" },
    CredentialField { name: "password", environment: "UPCLOUD_PASSWORD", title: "password of the API user" },
];
const HETZNER: &[CredentialField] =
    &[CredentialField { name: "token", environment: "HCLOUD_TOKEN", title: "API token of a project" }];
const AWS: &[CredentialField] = &[
    CredentialField { name: "access_key_id", environment: "AWS_ACCESS_KEY_ID", title: "access key id" },
    CredentialField { name: "secret_access_key", environment: "AWS_SECRET_ACCESS_KEY", title: "secret access key" },
    CredentialField {
        name: "session_token",
        environment: "AWS_SESSION_TOKEN",
        title: "session token, with keys that expire",
    },
    CredentialField { name: "region", environment: "AWS_REGION", title: "region, as eu-west-1" },
];

/// Where APIs are and what the environment knows them by.
#[derive(Clone, Debug, Default)]
pub struct CloudsSettings {
    /// Another address of UpCloud's API.
    pub upcloud_url: Option<String>,
    /// Another address of Hetzner's API.
    pub hetzner_url: Option<String>,
    /// Another address of EC2's API.
    pub aws_url: Option<String>,
    /// Where AWS machines are put.
    pub aws_subnet_id: Option<String>,
    /// What may reach them.
    pub aws_security_group_ids: Vec<String>,
    /// The variables of the environment that providers look at.
    pub environment: BTreeMap<String, Secret>,
    /// Time for one call; the usual where None.
    pub timeout: Option<Duration>,
}

impl CloudsSettings {
    /// Every variable that a provider may look at.
    pub fn variables() -> impl Iterator<Item = &'static str> {
        [UPCLOUD, HETZNER, AWS].into_iter().flatten().map(|field| field.environment).chain(["AWS_DEFAULT_REGION"])
    }
}

/// The way to the accounts of all vendors.
pub struct Clouds {
    settings: CloudsSettings,
    clock: Arc<dyn Clock>,
    more: Vec<(Provider, Arc<dyn Cloud>)>,
    kept: Mutex<HashMap<[u8; 32], Arc<dyn Cloud>>>,
}

impl Clouds {
    /// The vendors.
    pub fn new(settings: CloudsSettings, clock: Arc<dyn Clock>) -> Self {
        Self { settings, clock, more: Vec::new(), kept: Mutex::default() }
    }

    /// And this one, which needs no credentials.
    #[must_use]
    pub fn with(mut self, title: &str, cloud: Arc<dyn Cloud>) -> Self {
        let provider = Provider { name: cloud.vendor().to_owned(), title: title.to_owned(), fields: &[], ready: true };
        self.more.push((provider, cloud));
        self
    }

    fn environment(&self, fields: &[CredentialField]) -> Credentials {
        let value = |field: &CredentialField| {
            let found = self.settings.environment.get(field.environment);
            let found = found.or_else(|| {
                self.settings.environment.get("AWS_DEFAULT_REGION").filter(|_| field.environment == "AWS_REGION")
            });
            Some((field.name.to_owned(), found?.clone()))
        };
        Credentials(fields.iter().filter_map(value).collect())
    }

    fn endpoint(&self, own: Option<&String>, usual: &str) -> Endpoint {
        let mut endpoint = Endpoint::new(own.map_or(usual, String::as_str), self.clock.clone());
        if let Some(timeout) = self.settings.timeout {
            endpoint.timeout = timeout;
        }
        endpoint
    }

    fn make(&self, provider: &str, keys: &Credentials) -> Result<Arc<dyn Cloud>, CloudError> {
        let settings = &self.settings;
        match provider {
            "upcloud" => {
                let endpoint = self.endpoint(settings.upcloud_url.as_ref(), upcloud::BASE_URL);
                let keys = match (keys.get("token"), keys.get("username"), keys.get("password")) {
                    (Some(token), _, _) => UpCloudKeys::Token(token.clone()),
                    (None, Some(username), Some(password)) => {
                        UpCloudKeys::User { username: username.expose().to_owned(), password: password.clone() }
                    }
                    _ => return Err(missing("upcloud", "token, or username and password", UPCLOUD)),
                };
                Ok(Arc::new(UpCloud::new(endpoint, &keys)?))
            }
            "hetzner" => {
                let endpoint = self.endpoint(settings.hetzner_url.as_ref(), hetzner::BASE_URL);
                let token = keys.get("token").ok_or_else(|| missing("hetzner", "token", HETZNER))?;
                Ok(Arc::new(Hetzner::new(endpoint, token)?))
            }
            _ => {
                let all = (keys.get("access_key_id"), keys.get("secret_access_key"), keys.get("region"));
                let (Some(id), Some(secret), Some(region)) = all else {
                    return Err(missing("aws", "access_key_id, secret_access_key and region", AWS));
                };
                let aws = AwsSettings {
                    region: region.expose().to_owned(),
                    subnet_id: settings.aws_subnet_id.clone(),
                    security_group_ids: settings.aws_security_group_ids.clone(),
                };
                let endpoint = self.endpoint(settings.aws_url.as_ref(), &aws.base_url());
                let keys = AwsKeys {
                    access_key_id: id.expose().to_owned(),
                    secret_access_key: secret.clone(),
                    session_token: keys.get("session_token").cloned(),
                };
                Ok(Arc::new(Aws::new(endpoint, aws, keys)?))
            }
        }
    }
}

fn missing(provider: &str, what: &str, fields: &[CredentialField]) -> CloudError {
    let variables: Vec<&str> = fields.iter().map(|field| field.environment).collect();
    let text = format!(
        "provider {provider} is not configured: give the workspace its credentials ({what}), or start the server with {}",
        variables.join(", ")
    );
    CloudError::new(CloudErrorKind::Auth, text).with_code("NOT_CONFIGURED")
}

fn fields_of(provider: &str) -> Option<(&'static str, &'static [CredentialField])> {
    Some(match provider {
        "upcloud" => ("UpCloud", UPCLOUD),
        "hetzner" => ("Hetzner Cloud", HETZNER),
        "aws" => ("AWS EC2", AWS),
        _ => return None,
    })
}

impl CloudFactory for Clouds {
    fn providers(&self) -> Vec<Provider> {
        let vendors = ["aws", "hetzner", "upcloud"].into_iter().filter_map(|name| {
            let (title, fields) = fields_of(name)?;
            let ready = self.make(name, &self.environment(fields)).is_ok();
            Some(Provider { name: name.to_owned(), title: title.to_owned(), fields, ready })
        });
        let mut all: Vec<Provider> = vendors.chain(self.more.iter().map(|(provider, _)| provider.clone())).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn open(&self, provider: &str, credentials: Option<&Credentials>) -> Result<Arc<dyn Cloud>, CloudError> {
        if let Some((_, cloud)) = self.more.iter().find(|(known, _)| known.name == provider) {
            return Ok(cloud.clone());
        }
        let Some((_, fields)) = fields_of(provider) else {
            let names: Vec<String> = self.providers().into_iter().map(|known| known.name).collect();
            let text = format!("there is no provider `{provider}`; there are {}", names.join(", "));
            return Err(CloudError::invalid("provider", text));
        };
        let environment;
        let keys = match credentials {
            Some(keys) => keys,
            None => {
                environment = self.environment(fields);
                &environment
            }
        };
        let mut digest = Sha256::new();
        digest.update(provider);
        for (name, value) in &keys.0 {
            for part in [name.as_str(), value.expose()] {
                digest.update([0]);
                digest.update(part);
            }
        }
        let digest: [u8; 32] = digest.finalize().into();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cloud) = kept.get(&digest) {
            return Ok(cloud.clone());
        }
        let cloud = self.make(provider, keys)?;
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(digest, cloud.clone());
        Ok(cloud)
    }
}
