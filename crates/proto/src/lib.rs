//! Wire types: what travels between Tricorn's parts and to the outside, generated from the `.proto` files in
//! the workspace's `proto/` folder. It knows tags and field names, and must never know what they mean: no
//! behaviour, no sockets of its own, no state.
//!
//! Adding a file under `proto/` is enough for it to be compiled; a module below makes its package visible.
//! All `bytes` fields are [`bytes::Bytes`], so that a value is shared and not copied on its way through.

/// Declares a module that holds the generated code of one protobuf package.
macro_rules! package {
    ($(#[$doc:meta])* $name:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(missing_docs, rustdoc::all, clippy::all, clippy::unwrap_used, clippy::large_futures)]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

/// What describes etcd's messages and services to a program that handles them without knowing them: an encoded
/// `FileDescriptorSet`.
pub const ETCD_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/etcd.descriptors"));

package!(
    /// Keys, values and events of etcd v3.
    mvccpb, "mvccpb"
);
package!(
    /// Users, roles and permissions of etcd v3.
    authpb, "authpb"
);
package!(
    /// The services of etcd v3: KV, Watch, Lease, Cluster, Maintenance, Auth.
    etcdserverpb, "etcdserverpb"
);
package!(
    /// The quota of the database, as clients see it.
    tricornpb, "tricornpb"
);
package!(
    /// etcd's lock service.
    v3lockpb, "v3lockpb"
);
package!(
    /// etcd's election service.
    v3electionpb, "v3electionpb"
);
package!(
    /// What the members of one store say to each other, and what they keep in their logs.
    peer, "peer"
);
package!(
    /// The Container Runtime Interface: pods, containers and images of a node's container runtime.
    cri, "runtime.v1"
);
