//! What is said over the HTTP API of the E4 key server: the bodies of requests and answers, as types that the server and its
//! clients share.
//!
//! All paths begin with `/v1`. Times are text of RFC 3339 in UTC, ids of devices are 32 small hexadecimal digits, topics and
//! orders have numbers. A list comes as a [`Page`]; what is refused comes as a [`Problem`]. Who asks says so with
//! `Authorization: Bearer TOKEN`; only [`Redeem`] and [`Register`] carry a one-time token of their own instead.
//!
//! | path | method: body, answer |
//! |---|---|
//! | `/devices` | GET: [`DevicesQuery`], [`Page`] of [`Device`]. POST: [`NewDevice`], [`Device`] |
//! | `/devices/import` | POST: a [`NewDevice`] a line (`application/jsonl`), or a [`DeviceRow`] a line (`text/csv`, first line the names of columns), [`Imported`] |
//! | `/devices/{id}` | GET: [`Device`]. PATCH: [`DeviceChange`], [`Device`] |
//! | `/devices/{id}/withdraw` | POST: [`Withdraw`], [`Withdrawal`] |
//! | `/devices/{id}/rotate-key` | POST: [`Order`] |
//! | `/devices/{id}/holds` | GET: [`Holds`] |
//! | `/devices/{id}/bundle` | POST: [`NewBundle`], [`Invitation`] |
//! | `/invitations` | POST: [`NewInvitation`], [`Invitation`] |
//! | `/bundles` | POST: [`Redeem`], [`Bundle`] |
//! | `/register` | POST: [`Register`], [`Registered`] |
//! | `/groups` | GET: [`PageQuery`], [`Page`] of [`Group`]. POST: [`NewGroup`], [`Group`] |
//! | `/groups/{name}` | GET: [`Group`]. PATCH: [`GroupChange`], [`Group`]. DELETE: [`Change`] |
//! | `/groups/{name}/members/{device}` | PUT, DELETE: [`Change`] |
//! | `/topics` | GET: [`TopicsQuery`], [`Page`] of [`Topic`]. POST: [`NewTopic`], [`Topic`] |
//! | `/topics/{id}` | GET: [`Topic`]. PATCH: [`TopicChange`], [`Topic`]. DELETE: [`Change`] |
//! | `/topics/{id}/keys` | GET: [`PageQuery`], [`Page`] of [`KeyVersion`] |
//! | `/topics/{id}/access` | GET: [`PageQuery`], [`Page`] of [`AccessEntry`] |
//! | `/topics/{id}/access/devices/{id}`, `/topics/{id}/access/groups/{name}` | PUT: [`Access`], [`Change`]. DELETE: [`Change`] |
//! | `/topics/{id}/rotate` | POST: [`Rotate`], [`Order`] |
//! | `/orders` | GET: [`OrdersQuery`], [`Page`] of [`Order`] |
//! | `/orders/{id}` | GET: [`Order`] |
//! | `/orders/{id}/cancel` | POST: [`Order`] |
//! | `/server-key` | GET: [`PageQuery`], [`Page`] of [`ServerKey`] |
//! | `/server-key/rotate` | POST: [`Order`] |
//! | `/status` | GET: [`ServerStatus`] |
//! | `/exposure` | GET: [`PageQuery`], [`Page`] of [`Exposure`] |
//! | `/audit` | GET: [`AuditQuery`], [`Page`] of [`AuditEntry`] |
//! | `/audit/export` | GET: an [`AuditLine`] a line (`application/jsonl`) |
//! | `/events` | GET: an [`Event`] each (`text/event-stream`) |
//! | `/tokens` | GET: [`PageQuery`], [`Page`] of [`Token`]. POST: [`NewToken`], [`TokenMade`] |
//! | `/tokens/{id}` | DELETE: no body |
//! | `/release` | POST: [`ServerStatus`] |
//! | `/health` | GET, by anybody: [`Health`] |
//! | `/ready` | GET, by anybody: [`Readiness`] |
//!
//! Things that people change have a `revision`, which is also their `ETag`: a change with `If-Match` is refused if somebody else
//! changed it in between. What makes a key or an order takes an `Idempotency-Key`, and is then carried out once however often it
//! is sent.
//!
//! **Features**: `openapi` gives each type its schema.

mod access;
mod audit;
mod bundle;
mod device;
mod group;
mod order;
mod page;
mod problem;
mod secret;
mod status;
mod token;
mod topic;
mod word;

pub use access::{Access, AccessEntry, Change};
pub use audit::{AuditEntry, AuditLine, AuditQuery, Checkpoint, Event};
pub use bundle::{Bundle, BundleForm, Invitation, NewBundle, NewInvitation, Redeem, Register, Registered};
pub use device::{
    Device, DeviceChange, DeviceRef, DeviceRow, DevicesQuery, HeldPeer, HeldTopic, Holds, Imported, Mode, NewDevice,
    Outstanding, Report, RowError, Standing, Status,
};
pub use group::{Group, GroupChange, GroupPolicy, NewGroup};
pub use order::{
    Order, OrderKind, OrderState, OrdersQuery, Progress, Reach, Rotate, RotationKind, ServerKey, Through, Withdraw,
    Withdrawal,
};
pub use page::{Page, PageQuery};
pub use problem::{LineError, Problem};
pub use secret::Secret;
pub use status::{BrokerStatus, DeviceCounts, Exposure, Health, Hold, Readiness, ServerStatus, Silent};
pub use token::{NewToken, Role, Token, TokenMade};
pub use topic::{KeyRole, KeyVersion, Leave, NewTopic, Reason, Topic, TopicChange, TopicPolicy, TopicRef, TopicsQuery};
