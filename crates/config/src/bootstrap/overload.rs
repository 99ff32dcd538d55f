//! The overload manager, as far as it is a bound on connections (`envoy.config.overload.v3.OverloadManager`).

use xds_api::any::inner_type_url;
use xds_api::envoy::config::overload::v3 as pb;
use xds_api::envoy::extensions::resource_monitors::downstream_connections::v3::DownstreamConnectionsConfig;
use xds_api::type_name;

use crate::context::Context;
use crate::rejected::Reported;

const CONNECTIONS: &str = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig";

/// The most connections from callers at a time, over all listeners (`max_active_downstream_connections`), if a monitor
/// says so.
pub(super) fn parse(context: &mut Context<'_>, message: &pb::OverloadManager) -> Result<Option<u64>, Reported> {
    context.check(message);
    let mut found = None;
    let monitors: Vec<u64> = context.each("resource_monitors", &message.resource_monitors, |context, monitor| {
        context.check(monitor);
        if found.replace(()).is_some() {
            // As in Envoy, which has one monitor of a name.
            return Err(context.reject("is the second monitor of downstream connections"));
        }
        let Some(pb::resource_monitor::ConfigType::TypedConfig(any)) = &monitor.config_type else {
            return Err(context.reject_field("typed_config", "is required"));
        };
        context.at("typed_config", |context| {
            if type_name(&inner_type_url(any)) != CONNECTIONS {
                let found = format!(
                    "is {:?}, which is not supported: only downstream connections are bounded",
                    inner_type_url(any)
                );
                return Err(context.reject(found));
            }
            let any = context.unwrap_any(any)?;
            let config: DownstreamConnectionsConfig = context.decode(&any.value)?;
            context.check(&config);
            let most = config.max_active_downstream_connections;
            u64::try_from(most).ok().filter(|most| *most > 0).ok_or_else(|| {
                context.reject_field(
                    "max_active_downstream_connections",
                    format!("is {most}, expected at least 1"),
                )
            })
        })
    })?;
    Ok(monitors.first().copied())
}
