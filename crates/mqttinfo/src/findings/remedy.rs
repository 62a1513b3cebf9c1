//! How to mend something, in the words of the product that it seems to be.

use crate::{fingerprint::LIKELY, report::Report};

/// Products whose settings are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    Mosquitto,
    RabbitMq,
    Emqx,
    HiveMq,
    Other,
}

impl Maker {
    pub(super) fn of(report: &Report) -> Self {
        let likely = report.products.first().filter(|guess| guess.confidence >= LIKELY);
        match likely.map(|guess| guess.product.as_str()) {
            Some("mosquitto") => Self::Mosquitto,
            Some("RabbitMQ") => Self::RabbitMq,
            Some("EMQX") => Self::Emqx,
            Some("HiveMQ") => Self::HiveMq,
            _ => Self::Other,
        }
    }
}

/// What is to be mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    Anonymous,
    Rights,
    SysRights,
    Takeover,
    LoginErrors,
    Tls,
    TlsVersions,
    TlsSuites,
    Certificate,
    ClientCertificate,
    PacketSize,
    Version3,
    Maker,
    EndToEnd,
}

impl Remedy {
    pub(super) const fn text(self, maker: Maker) -> &'static str {
        match self {
            Self::Anonymous => anonymous(maker),
            Self::Rights => rights(maker),
            Self::SysRights => sys_rights(maker),
            Self::Takeover => takeover(maker),
            Self::LoginErrors => {
                "Give the same answer to an unknown user and to a wrong password, and slow down or block addresses that \
                 fail often. Where the broker cannot do that, an authentication plugin can."
            }
            Self::Tls => tls(maker),
            Self::TlsVersions => tls_versions(maker),
            Self::TlsSuites => {
                "Offer suites with ECDHE and an AEAD only, such as TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, or TLS 1.3 \
                 alone."
            }
            Self::Certificate => {
                "Get a certificate for the name that clients use, from an authority that they know (a public one, or \
                 your own), and renew it in time by a program."
            }
            Self::ClientCertificate => client_certificate(maker),
            Self::PacketSize => packet_size(maker),
            Self::Version3 => {
                "If no device needs MQTT 3.1, it can be switched off where the product has a setting for that."
            }
            Self::Maker => {
                "There is no setting for this. Use the current release, and report it to the maker if it does the same."
            }
            Self::EndToEnd => {
                "With end-to-end encryption such as E4, neither strangers nor the broker can read payloads; topics, \
                 sizes and times stay visible."
            }
        }
    }
}

const fn anonymous(maker: Maker) -> &'static str {
    match maker {
        Maker::Mosquitto => {
            "In mosquitto.conf: `allow_anonymous false` and `password_file /etc/mosquitto/passwd`. Make users with \
             `mosquitto_passwd -c /etc/mosquitto/passwd USER`."
        }
        Maker::RabbitMq => {
            "In rabbitmq.conf: `anonymous_login_user = none` (before RabbitMQ 4.0: `mqtt.allow_anonymous = false`), and \
             `rabbitmqctl delete_user guest`."
        }
        Maker::Emqx => {
            "Add an authentication backend: Access Control, Authentication in the dashboard, or `authentication = [...]` \
             in emqx.conf. Without one, EMQX lets everybody in."
        }
        Maker::HiveMq => {
            "Disable hivemq-allow-all-extension (put a file named DISABLED into its folder), and install a security \
             extension such as the File RBAC extension."
        }
        Maker::Other => "Switch off anonymous access, and give every client a user name and password or a certificate.",
    }
}

const fn rights(maker: Maker) -> &'static str {
    match maker {
        Maker::Mosquitto => {
            "In mosquitto.conf: `acl_file /etc/mosquitto/acl`. In that file give each user its topics: `user NAME`, then \
             `topic readwrite plant/7/#`. Lines before the first `user` are for strangers."
        }
        Maker::RabbitMq => {
            // No backslash: it would be shown as two, and the command would mean something else.
            "Give each user its topics: `rabbitmqctl set_topic_permissions -p / USER amq.topic '^plant[.]7[.]' \
             '^plant[.]7[.]'`, and let strangers not use a user with rights."
        }
        Maker::Emqx => {
            "End acl.conf with `{deny, all}.` and allow before it what each client needs, and set \
             `authorization.no_match = deny` in emqx.conf."
        }
        Maker::HiveMq => "Give roles their topics in the configuration of the File RBAC extension, or another one's.",
        Maker::Other => "Allow each client the topics that it needs, and deny everything else, wildcards included.",
    }
}

const fn sys_rights(maker: Maker) -> &'static str {
    match maker {
        Maker::Mosquitto => {
            "In the file named by `acl_file`, grant `topic read $SYS/#` to the user that watches the broker only. \
             `sys_interval 0` in mosquitto.conf switches these topics off."
        }
        Maker::Emqx => {
            "In acl.conf: `{allow, {ipaddr, \"127.0.0.1\"}, all, [\"$SYS/#\"]}.` and then `{deny, all, all, \
             [\"$SYS/#\"]}.`"
        }
        _ => "Allow topics below $SYS to those who watch the broker only, and let nobody write there.",
    }
}

const fn takeover(maker: Maker) -> &'static str {
    match maker {
        Maker::Mosquitto => {
            "In mosquitto.conf: `use_username_as_clientid true` ties the client id to the user, and `allow_anonymous \
             false` keeps strangers out."
        }
        Maker::Emqx => {
            "In emqx.conf: `mqtt.use_username_as_clientid = true` ties the client id to the user; and keep strangers out."
        }
        _ => {
            "Keep strangers out, and tie client ids to users or certificates where the broker can; ids are no secrets."
        }
    }
}

const fn tls(maker: Maker) -> &'static str {
    match maker {
        Maker::Mosquitto => {
            "In mosquitto.conf: `listener 8883`, `certfile`, `keyfile`, and no listener for 1883 but on localhost: \
             `listener 1883 127.0.0.1`."
        }
        Maker::RabbitMq => {
            "In rabbitmq.conf: `mqtt.listeners.ssl.default = 8883`, `ssl_options.certfile`, `ssl_options.keyfile`, and \
             `mqtt.listeners.tcp = none`."
        }
        Maker::Emqx => {
            "In emqx.conf: certificate and key of `listeners.ssl.default.ssl_options`, and `listeners.tcp.default.enable \
             = false`."
        }
        Maker::HiveMq => "In config.xml: a `<tls-tcp-listener>` with its keystore in place of the `<tcp-listener>`.",
        Maker::Other => {
            "Offer MQTT over TLS, which has port 8883, and close the port without it to all but this machine."
        }
    }
}

const fn tls_versions(maker: Maker) -> &'static str {
    match maker {
        Maker::Mosquitto => {
            "In mosquitto.conf, for the listener: `tls_version tlsv1.2`, which is the least that it takes."
        }
        Maker::RabbitMq => {
            "In rabbitmq.conf: `ssl_options.versions.1 = tlsv1.3` and `ssl_options.versions.2 = tlsv1.2`."
        }
        Maker::Emqx => "In emqx.conf: `listeners.ssl.default.ssl_options.versions = [\"tlsv1.3\", \"tlsv1.2\"]`.",
        Maker::HiveMq => {
            "In config.xml, within `<tls>`: `<protocols><protocol>TLSv1.3</protocol><protocol>TLSv1.2</protocol>\
             </protocols>`."
        }
        Maker::Other => "Offer TLS 1.2 and 1.3 only.",
    }
}

const fn client_certificate(maker: Maker) -> &'static str {
    match maker {
        Maker::Mosquitto => {
            "Where clients can hold a key, in mosquitto.conf: `cafile`, `require_certificate true` and \
             `use_identity_as_username true`."
        }
        Maker::RabbitMq => {
            "Where clients can hold a key, in rabbitmq.conf: `ssl_options.verify = verify_peer`, \
             `ssl_options.fail_if_no_peer_cert = true` and `mqtt.ssl_cert_login = true`."
        }
        Maker::Emqx => {
            "Where clients can hold a key, in emqx.conf: `verify = verify_peer` and `fail_if_no_peer_cert = true` in \
             `listeners.ssl.default.ssl_options`."
        }
        Maker::HiveMq => {
            "Where clients can hold a key, in config.xml, within `<tls>`: a truststore and \
             `<client-authentication-mode>REQUIRED</client-authentication-mode>`."
        }
        Maker::Other => "Where clients can hold a key, ask them for certificates of your own authority.",
    }
}

const fn packet_size(maker: Maker) -> &'static str {
    match maker {
        Maker::Mosquitto => "In mosquitto.conf: `max_packet_size 1048576`, or what your largest message needs.",
        Maker::RabbitMq => "In rabbitmq.conf: `mqtt.max_packet_size_authenticated = 1048576`, or what you need.",
        Maker::Emqx => "In emqx.conf: `mqtt.max_packet_size = 1MB`, or what your largest message needs.",
        Maker::HiveMq => {
            "In config.xml: `<mqtt><packets><max-packet-size>1048576</max-packet-size></packets></mqtt>`, or what you \
             need."
        }
        Maker::Other => "Set the largest packet to what your largest message needs.",
    }
}
