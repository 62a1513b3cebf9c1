//! What is said over the HTTP API of the E4 key server: the bodies of requests and answers, as types that the server and its
//! clients share.
