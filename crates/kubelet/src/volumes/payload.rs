//! The files of volumes that are made from API objects: configMap, secret, downwardAPI, projected.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use super::atomic::{File, Files};
use crate::pod::env::{self, Facts};
use crate::pod::{resources, spec};

const DEFAULT_MODE: i32 = 0o644;

/// Where objects come from: the API, with a short memory.
#[async_trait::async_trait]
pub trait Objects: Send + Sync {
    /// A ConfigMap; none when it does not exist.
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, String>;
    /// A Secret; none when it does not exist.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, String>;
    /// A token of the pod's service account, fresh enough to be used.
    async fn token(&self, pod: &Pod, audience: Option<&str>, seconds: i64) -> Result<String, String>;
}

/// Data by key.
type Data = BTreeMap<String, Vec<u8>>;

/// All of a ConfigMap's data as bytes.
pub fn config_map_data(config_map: ConfigMap) -> Data {
    let text = config_map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
    let binary = config_map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0));
    text.chain(binary).collect()
}

/// All of a Secret's data as bytes.
pub fn secret_data(secret: Secret) -> Data {
    secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect()
}

/// The files of a volume; none when the volume's type is not one of these.
pub async fn files(pod: &Pod, volume: &Volume, objects: &dyn Objects, facts: &Facts) -> Result<Option<Files>, String> {
    let maker = Maker { pod, objects, facts };
    let mut out = Files::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        maker.config_map(&source.name, source.items.as_deref(), source.optional, mode, &mut out).await?;
    } else if let Some(source) = &volume.secret {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let name = source.secret_name.as_deref().unwrap_or_default();
        maker.secret(name, source.items.as_deref(), source.optional, mode, &mut out).await?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        maker.downward(source.items.iter().flatten(), mode, &mut out)?;
    } else if let Some(source) = &volume.projected {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for projection in source.sources.iter().flatten() {
            maker.projection(projection, mode, &mut out).await?;
        }
    } else {
        return Ok(None);
    }
    Ok(Some(out))
}

struct Maker<'a> {
    pod: &'a Pod,
    objects: &'a dyn Objects,
    facts: &'a Facts,
}

impl Maker<'_> {
    async fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
        out: &mut Files,
    ) -> Result<(), String> {
        let namespace = spec::namespace(self.pod);
        let data = match self.objects.config_map(namespace, name).await? {
            Some(found) => config_map_data(found),
            None if optional == Some(true) => Data::new(),
            None => return Err(format!("configmap \"{name}\" not found")),
        };
        select(data, items, optional, mode, "configmap", out)
    }

    async fn secret(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
        out: &mut Files,
    ) -> Result<(), String> {
        let namespace = spec::namespace(self.pod);
        let data = match self.objects.secret(namespace, name).await? {
            Some(found) => secret_data(found),
            None if optional == Some(true) => Data::new(),
            None => return Err(format!("secret \"{name}\" not found")),
        };
        select(data, items, optional, mode, "secret", out)
    }

    fn downward<'f>(&self, items: impl Iterator<Item = &'f DownwardAPIVolumeFile>, mode: i32, out: &mut Files) -> Result<(), String> {
        for item in items {
            let text = if let Some(reference) = &item.field_ref {
                env::field(self.pod, &reference.field_path, self.facts)?
            } else if let Some(reference) = &item.resource_field_ref {
                let name = reference.container_name.as_deref().unwrap_or_default();
                let members = spec::members(self.pod);
                let member =
                    members.iter().find(|member| member.container.name == name).ok_or_else(|| format!("container {name} not found"))?;
                env::resource(&member.container, &reference.resource, reference.divisor.as_ref().map(resources::milli), self.facts)?
            } else {
                continue;
            };
            let file = File { bytes: text.into_bytes(), mode: item.mode.unwrap_or(mode) as u32, owner: None };
            out.insert(item.path.clone(), file);
        }
        Ok(())
    }

    async fn projection(&self, projection: &VolumeProjection, mode: i32, out: &mut Files) -> Result<(), String> {
        if let Some(source) = &projection.config_map {
            self.config_map(&source.name, source.items.as_deref(), source.optional, mode, out).await
        } else if let Some(source) = &projection.secret {
            self.secret(&source.name, source.items.as_deref(), source.optional, mode, out).await
        } else if let Some(source) = &projection.downward_api {
            self.downward(source.items.iter().flatten(), mode, out)
        } else if let Some(source) = &projection.service_account_token {
            self.token(source, mode, out).await
        } else if projection.cluster_trust_bundle.is_some() {
            Err("projection of clusterTrustBundle is not implemented".into())
        } else {
            Err("this kind of projection is not implemented".into())
        }
    }

    async fn token(&self, source: &ServiceAccountTokenProjection, mode: i32, out: &mut Files) -> Result<(), String> {
        let seconds = source.expiration_seconds.unwrap_or(3600);
        let token = self.objects.token(self.pod, source.audience.as_deref(), seconds).await?;
        // A token belongs to the one user all containers run as, when there is one.
        let context = self.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let owner = context.and_then(|context| context.run_as_user).map(|user| user as u32);
        let mode = if owner.is_some() { 0o600 } else { mode as u32 };
        out.insert(source.path.clone(), File { bytes: token.into_bytes(), mode, owner });
        Ok(())
    }
}

fn select(data: Data, items: Option<&[KeyToPath]>, optional: Option<bool>, mode: i32, kind: &str, out: &mut Files) -> Result<(), String> {
    match items.filter(|items| !items.is_empty()) {
        None => out.extend(data.into_iter().map(|(key, bytes)| (key, File { bytes, mode: mode as u32, owner: None }))),
        Some(items) => {
            for item in items {
                match data.get(&item.key) {
                    Some(bytes) => {
                        let file = File { bytes: bytes.clone(), mode: item.mode.unwrap_or(mode) as u32, owner: None };
                        out.insert(item.path.clone(), file);
                    }
                    None if optional == Some(true) => {}
                    None => return Err(format!("{kind} references non-existent config key: {}", item.key)),
                }
            }
        }
    }
    Ok(())
}
