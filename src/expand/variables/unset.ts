/**
 * Variables of features that have not run (TLS, DKIM, content scanning, authentication...): their values are what Exim
 * gives before the feature ran, unless the scope's `extra` map has a value.
 */
import type { VariableRow } from '../evaluator.ts';

/** A name, or `name=value` where the value is not empty. */
const names = `
  address_file address_pipe auth1 auth2 auth3 auth4 authenticated_fail_id authenticated_sender
  authentication_failed=0 av_failed=0 bounce_recipient bounce_return_size_limit=102400
  return_size_limit=102400 callout_address compile_date compile_number=0 csa_status
  dkim_algo dkim_bodylength=9999999999999 dkim_canon_body dkim_canon_headers dkim_copiedheaders dkim_created=0
  dkim_cur_signer dkim_domain dkim_expires=9999999999999 dkim_headernames dkim_identity dkim_key_granularity=*
  dkim_key_length=0 dkim_key_nosubdomains=0 dkim_key_notes dkim_key_srvtype=* dkim_key_testing=0 dkim_selector
  dkim_signers dkim_verify_reason dkim_verify_status
  dnslist_domain dnslist_matched dnslist_text dnslist_value event_data event_defer_errno=0 event_name headers_added home
  host_data inode=0 ldap_dn local_scan_data local_user_gid=4294967295
  local_user_uid=4294967295 localhost_number=0 mailstore_basename malware_name
  message_smtputf8=no
  mime_anomaly_level=0 mime_anomaly_text mime_boundary mime_charset mime_content_description mime_content_disposition
  mime_content_id mime_content_size=0 mime_content_transfer_encoding mime_content_type mime_decoded_filename
  mime_filename mime_is_coverletter=0 mime_is_multipart=0 mime_is_rfc822=0 mime_part_count=-1
  originator_gid=0 originator_uid=0 prdr_requested=no proxy_external_address proxy_external_port=0 proxy_local_address
  proxy_local_port=0 proxy_session=no queue_name queue_size
  rcpt_defer_count=0 rcpt_fail_count=0 recipient_data regex_match_string self_hostname
  sender_data sender_helo_dnssec=no sender_host_authenticated sender_host_dnssec=no sender_ident
  sender_rate sender_rate_limit sender_rate_period sending_ip_address sending_port=-1 smtp_command
  smtp_command_argument smtp_command_history smtp_count_at_connection_start=0 smtp_notquit_reason
  spam_action spam_bar spam_report spam_score spam_score_int
  spf_header_comment spf_received spf_result spf_result_guessed=no spf_smtp_comment thisaddress
  tls_bits=0 tls_certificate_verified=0 tls_cipher tls_in_bits=0 tls_in_certificate_verified=0 tls_in_cipher
  tls_in_cipher_std tls_in_ocsp=0 tls_in_peerdn tls_in_resumption=0 tls_in_sni tls_in_ver
  tls_out_bits=0 tls_out_certificate_verified=0 tls_out_cipher tls_out_cipher_std tls_out_dane=no tls_out_ocsp=0
  tls_out_peerdn tls_out_resumption=0 tls_out_sni tls_out_tlsa_usage=0 tls_out_ver
  tls_peerdn tls_sni verify_mode warn_message_delay warn_message_recipient warn_message_recipients warnmsg_delay
  warnmsg_recipient warnmsg_recipients
  regex1 regex2 regex3 regex4 regex5 regex6 regex7 regex8 regex9
`;

export const unsetVariables: Readonly<Record<string, VariableRow>> = Object.fromEntries(
  [...names.trim().split(/\s+/), 'spf_guess=v=spf1 a/24 mx/24 ptr ?all'].map(
    (entry): [string, VariableRow] => {
      const [name = '', ...rest] = entry.split('=');
      const value = rest.join('=');
      return [
        name,
        {
          read: (f) => f.scope.extra?.get(name)?.text ?? value,
          tainted: (f) => f.scope.extra?.get(name)?.tainted ?? false,
        },
      ];
    },
  ),
);
