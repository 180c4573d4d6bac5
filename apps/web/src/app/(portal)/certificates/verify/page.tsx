import { VerifyPage } from '../../../../components/identity/VerifyPage.tsx';

export default function Page() {
  return <VerifyPage />;
}
