//! The pod network's CNI configuration: a bridge with the node's pod range, written once the range is known.
//!
//! Pods keep their addresses towards other pods; hiding what leaves the cluster behind the node's address is the
//! proxy's work, as all packet filtering is.

use std::path::Path;

use serde_json::json;

use crate::error::{Error, Result};

/// File name of the configuration.
pub const FILE: &str = "10-tricorn.conflist";

/// The configuration list for a node's pod range. `state_dir` is where addresses that are in use are remembered.
pub fn conflist(pod_cidr: &str, state_dir: &Path) -> String {
    json!({
        "cniVersion": "0.4.0",
        "name": "tricorn",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "isDefaultGateway": true,
                "ipMasq": false,
                "hairpinMode": true,
                "forceAddress": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": pod_cidr}]],
                    "dataDir": state_dir.join("networks"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
        ],
    })
    .to_string()
}

/// Writes the configuration where the runtime looks for it, whole or not at all. True when it was changed.
pub fn write(conf_dir: &Path, pod_cidr: &str, state_dir: &Path) -> Result<bool> {
    let path = conf_dir.join(FILE);
    let text = conflist(pod_cidr, state_dir);
    if std::fs::read_to_string(&path).is_ok_and(|current| current == text) {
        return Ok(false);
    }
    std::fs::create_dir_all(conf_dir).map_err(Error::io("create", conf_dir))?;
    std::fs::create_dir_all(state_dir).map_err(Error::io("create", state_dir))?;
    let partial = conf_dir.join(".partial");
    std::fs::write(&partial, text).map_err(Error::io("write", &partial))?;
    std::fs::rename(&partial, &path).map_err(Error::io("rename to", &path))?;
    Ok(true)
}
